"""Locales of other encodings: names and texts of data are UTF-8 all the same."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from flows import utf8

ROOT = Path(__file__).resolve().parents[2]
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def run(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **ASCII, **environment},
        capture_output=True,
        check=False,
    )


def test_a_command_starts_again_in_utf8_and_keeps_its_words() -> None:
    code = (
        "import sys; print(sys.getfilesystemencoding(), flush=True); "
        "from flows import utf8; utf8.ensure(); "
        "import os; print(sys.flags.utf8_mode, os.environ['PYTHONUTF8'])"
    )
    done = run(code)
    assert done.stderr == b"" and done.stdout.split() == [b"ascii", b"utf-8", b"1", b"1"]


def test_in_utf8_nothing_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started again"))
    monkeypatch.setattr(utf8, "is_utf8", lambda: True)
    utf8.ensure()


def test_names_that_the_locale_does_not_know_are_found(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "gr\u00fcn.png"}],
        "annotations": [],
        "categories": [{"id": 1, "name": "H\u00fcte"}],
    }
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    Image.new("L", (9, 9)).save(tmp_path / "images" / "gr\u00fcn.png")
    code = (
        "from flows import utf8; utf8.ensure(); from tasks.data.dataset import Source; "
        "from tasks.formats import coco; "
        f"raw = coco.read(Source({str(tmp_path)!r})); utf8.be_lenient(); "
        "print(raw.splits['train'][0].picture.is_file(), *raw.classes)"
    )
    assert run(code).stdout.decode() == "True H\u00fcte\n"


def test_what_a_screen_cannot_show_is_shown_as_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, "ascii"))
    utf8.be_lenient()
    print("gr\u00fcn \udcff", flush=True)
    assert shown.getvalue() == b"gr\\xfcn \\udcff\n"
