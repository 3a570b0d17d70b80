"""Exceptions that nobody foresaw: one line, a file, status 1; in the commands of all rooms."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw import __main__ as hw_cli
from spaces import __main__ as spaces_cli
from spaces import defect


def raised(message: str) -> Exception:
    """An exception with a traceback."""
    try:
        raise KeyError(message)
    except KeyError as error:
        return error


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is none of a project, and one for temporary files."""
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    return tmp_path


def test_a_line_says_what_was_done_and_a_file_the_rest(folder: Path) -> None:
    line = defect.told("hw estimate", raised("x\ny"))
    (file,) = (folder / "temporary").iterdir()
    assert line == (
        "error: hw estimate must end by itself, but got KeyError: 'x\\ny'. This is a defect. "
        f"The traceback is in {file}."
    )
    text = file.read_text()
    assert text.startswith("hw estimate\n") and "raise KeyError(message)" in text
    assert list((folder / "here").iterdir()) == []


def test_a_project_keeps_it_with_its_logs(folder: Path) -> None:
    (folder / "here" / ".edgenas").mkdir()
    assert "is in .edgenas/log/defect-" in defect.told("flows run", raised("x"))


def test_notes_say_where_it_was_the_last_first() -> None:
    error = raised("x")
    error.add_note("candidate 7")
    error.add_note("stage search")
    said = defect.told("flows run", error)
    assert said.startswith("error: flows run, stage search, candidate 7 must end by itself")


def test_long_messages_and_empty_ones_are_one_short_line() -> None:
    said = defect.told("x", raised("long \n" * 1000))
    assert "\n" not in said and len(said) < 600
    assert "but got AssertionError. This" in defect.told("x", AssertionError())


def test_where_nothing_can_be_written_the_line_stands_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/nowhere")
    assert defect.told("x", raised("y")).endswith("Nowhere could its traceback be written.")


def test_every_room_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> str:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "of a library")

    monkeypatch.setattr("hw.commands.estimating.run", fail)
    assert hw_cli.main(["devices"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: hw devices must") and said.count("\n") == 1
    monkeypatch.setattr(spaces_cli, "names_in", fail)
    assert spaces_cli.main(["list"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: spaces list must") and said.count("\n") == 1
