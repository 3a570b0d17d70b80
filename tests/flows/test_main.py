"""The command line: what it hands on, and how it ends."""

from __future__ import annotations

import argparse
import shutil
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

    monkeypatch.setattr(cli, "_status", call)


def test_users_mistakes_are_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending_with(WorkspaceError("x must be y,\n but got z"), monkeypatch)
    assert cli.main(["status"]) == 2
    assert capsys.readouterr().err == "error: x must be y, but got z\n"


def test_defects_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    ending_with(ValueError("out of a library"), monkeypatch)
    with pytest.raises(ValueError, match="out of a library"):
        cli.main(["status"])


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
