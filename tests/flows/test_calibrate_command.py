"""``calibrate`` takes rows or makes them; what it cannot do is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.__main__ import main

SPACE = "mobilenet_v2_small"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "or --bench with --space, but got neither. Give one."),
        (("--bench", "host_cpu", "--measurements", "a.csv"), "but got both. Leave one out."),
        (("--bench", "host_cpu"), "--bench must come with --space"),
        (("--bench", "abacus", "--space", SPACE), "bench must be one of coral_board"),
        (("--bench", "host_cpu", "--space", "nowhere"), "space must be one of"),
        (("--bench", "host_cpu", "--space", SPACE, "--networks", "9"), "must be at least 10"),
        (("--bench", "host_cpu", "--space", SPACE, "--runs", "0"), "runs must be a number from 1"),
    ],
)
def test_a_mistake_is_one_line(
    options: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my.yaml"
    assert main(["calibrate", "--device", "any_processor", *options, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert words in error
    assert not out.exists()
