"""The command line: what it hands on, and how it ends."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from flows import __main__ as cli
from tasks.run.workspace import WorkspaceError


def ending_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every command raise ``error``."""

    def call(arguments: argparse.Namespace) -> None:
        raise error

    monkeypatch.setitem(cli.COMMANDS, "status", call)


def test_users_mistakes_are_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending_with(WorkspaceError("x must be y,\n but got z"), monkeypatch)
    assert cli.main(["status"]) == 2
    assert capsys.readouterr().err == "error: x must be y, but got z\n"


def test_defects_are_one_line_that_names_a_file_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".edgenas").mkdir()
    error = ValueError("out of a\nlibrary")
    error.add_note("stage search")
    ending_with(error, monkeypatch)
    assert cli.main(["status"]) == 1
    out, said = capsys.readouterr()
    (file,) = (tmp_path / ".edgenas" / "log").iterdir()
    assert out == "" and said == (
        "error: flows status, stage search must end by itself, but got ValueError: out of a "
        f"library. This is a defect. The traceback is in .edgenas/log/{file.name}.\n"
    )
    assert "Traceback (most recent call last)" in file.read_text()


def test_a_python_without_the_packages_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending_with(ModuleNotFoundError("No module named 'a1b2.c'", name="a1b2.c"), monkeypatch)
    assert cli.main(["status"]) == 2
    said = capsys.readouterr().err
    assert f"{sys.executable} has no a1b2" in said and ". .venv/bin/activate" in said


def test_a_missing_module_of_our_own_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    ending_with(ModuleNotFoundError("No module named 'tasks.x'", name="tasks.x"), monkeypatch)
    assert cli.main(["status"]) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "Permission denied"),
    ],
)
def test_what_may_not_be_written_is_no_defect(
    error: OSError,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ending_with(error, monkeypatch)
    assert cli.main(["status"]) == 2
    assert capsys.readouterr().err == f"error: a/b must be ours to use, but got: {expected}.\n"


@pytest.mark.parametrize("command", ["run", "ui", "calibrate", "cost", "schedule"])
def test_folders_of_others_are_refused_before_any_work(
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    nowhere = str(tmp_path / "out")
    words = {
        "cost": ["--space", "x", "--architectures", "x", "--device", "x", "--out", nowhere],
        "calibrate": ["--measurements", "x", "--device", "x", "--out", nowhere],
        "schedule": ["--cron", "0 3 * * *"],
    }
    assert cli.main([command, *words.get(command, [])]) == 2
    said = capsys.readouterr().err
    assert "must be writable, but" in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_seen_enough_is_no_defect(tmp_path: Path) -> None:
    """As ``| head -0``; the command prints more than a pipe holds back."""
    code = "import sys\nfrom flows.__main__ import main\nsys.exit(main(['status']))"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 141


def test_what_breaks_on_a_full_disk_is_the_disks_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending_with(RuntimeError("500 Internal Server Error"), monkeypatch)
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert cli.main(["status"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "error: the disk must have room for .edgenas, but it is full (RuntimeError).\n"
    )


def test_interrupts_are_quiet_and_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending_with(KeyboardInterrupt(), monkeypatch)
    assert cli.main(["status"]) == 130
    assert capsys.readouterr().err == ""


def test_wrong_parameters_are_refused_before_a_server_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "flows.server", types.ModuleType("flows.server"))
    monkeypatch.setattr(
        sys.modules["flows.server"], "prefect_server", lambda: pytest.fail(), raising=False
    )
    assert cli.main(["run", "--set", "search.budgett=3"]) == 2
    assert "unknown key search.budgett" in capsys.readouterr().err


def test_settings_and_stage_are_handed_on() -> None:
    line = ["run", "--set", "a.b=1", "c.d=2", "--set", "e.f=3", "--stage", "search"]
    arguments = cli.parser().parse_args([*line, "--profile", "tiny", "--no-tracking"])
    assert arguments.overrides == ["a.b=1", "c.d=2", "e.f=3"]
    assert (arguments.profile, arguments.stage, arguments.tracking) == ("tiny", "search", False)


def test_unknown_stages_are_refused_with_those_that_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ending:
        cli.parser().parse_args(["run", "--stage", "train"])
    assert ending.value.code == 2
    assert "'train_supernet'" in capsys.readouterr().err


def test_profiles_of_params_yaml_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    cli._check(argparse.Namespace(profile="tiny", overrides=["search.budget=3"]))
