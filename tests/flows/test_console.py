"""What of a process reaches the person, what its log, and what is said if it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
import os, sys
from pathlib import Path
from flows import console
log = Path("some.log")
console.keep_native_output_in(log)
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in ``folder``, as an owner of its standard error."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_native_output_goes_to_the_log_and_python_speaks(tmp_path: Path) -> None:
    done = run(BEGIN + "os.write(2, b'noise\\n'); print('words', file=sys.stderr)", tmp_path)
    assert (done.stderr, (tmp_path / "some.log").read_text()) == ("words\n", "noise\n")


def test_children_are_as_quiet(tmp_path: Path) -> None:
    done = run(BEGIN + "os.system('echo noise >&2')", tmp_path)
    assert (done.stderr, (tmp_path / "some.log").read_text()) == ("", "noise\n")


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    code = "console.keep_native_output_in(log); print('words', file=sys.stderr)"
    done = run(BEGIN + code, tmp_path)
    assert (done.stderr, (tmp_path / "some.log").read_text()) == ("words\n", "")


def test_a_log_that_has_grown_long_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "some.log").write_bytes(b"x" * 5_000_000)
    run(BEGIN + "os.write(2, b'noise\\n')", tmp_path)
    assert (tmp_path / "some.log").read_text() == "noise\n"
    assert (tmp_path / "some.log.1").stat().st_size == 5_000_000


@pytest.mark.parametrize("death", ["os.abort()", "os.kill(os.getpid(), 9)"])
def test_sudden_death_is_told_with_the_place_of_the_log(death: str, tmp_path: Path) -> None:
    done = run(BEGIN + f"console.point_to_log_at_sudden_death(log); {death}", tmp_path)
    assert done.returncode in (-signal.SIGABRT, -signal.SIGKILL)
    assert done.stderr.startswith("error: the run must end by itself, but ")
    assert "some.log" in done.stderr and done.stderr.count("\n") == 1


def test_the_place_of_a_crash_is_in_the_log(tmp_path: Path) -> None:
    run(BEGIN + "os.abort()", tmp_path)
    assert "Fatal Python error: Aborted" in (tmp_path / "some.log").read_text()


@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "raise KeyError('defect')"])
def test_an_end_in_good_order_is_not_commented(end: str, tmp_path: Path) -> None:
    done = run(BEGIN + f"console.point_to_log_at_sudden_death(log)\n{end}", tmp_path)
    assert "error: the run must" not in done.stderr
    assert ("defect" in done.stderr) == ("defect" in end)
