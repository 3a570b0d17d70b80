"""Benchmarks end as the commands do, and none of them has to do anything for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import ending
from hw.tflite.model import TfliteError

ROOT = Path(__file__).parents[2]


def test_a_defect_of_a_benchmark_is_one_line_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "pixel6_edgetpu.csv").write_text("one,other\n1,2\n")  # not such columns
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fit_tensor", "--measurements", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("error: benchmarks.fit_tensor must end by")
    (written,) = tmp_path.glob("defect-*.txt")
    assert str(written) in line and "Traceback" in written.read_text()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (TfliteError("x must be\ny."), 2, "error: x must be y.\n"),
        (
            FileNotFoundError(2, "No such file or directory", "rows.csv"),
            2,
            "error: rows.csv must be there and ours to use, but got: No such file or directory.\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_a_person_can_mend_is_no_defect(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        ending.end(type(error), error, None)
    assert (ended.value.code, capsys.readouterr().err) == (status, said)
