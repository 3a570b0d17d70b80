"""``python -m flows cost``: answers at once, and says in one line what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.__main__ import main

RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"


def arguments(folder: Path, space: str = "nas_bench_201", device: str = "coral_usb3") -> list[str]:
    files = ["--architectures", str(folder / "in.csv"), "--out", str(folder / "out.csv")]
    return ["cost", "--space", space, "--device", device, *files]


def test_a_table_is_costed_without_heavy_imports(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"architecture\n{RESNET}\nbest\n")
    code = (
        "import sys; from flows.__main__ import main; status = main(sys.argv[1:]); "
        "heavy = {'tensorflow', 'prefect', 'mlflow', 'sklearn', 'PIL'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 architectures costed on coral_usb3: ")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0].startswith("architecture,latency_ms,latency_low_ms,latency_high_ms,energy_mj")
    assert [line.split(",")[0] for line in lines[1:]] == [RESNET, "best"]


@pytest.mark.parametrize(
    ("content", "space", "device", "message"),
    [
        (None, "nas_bench_201", "coral_usb3", "No such file"),
        ("", "nas_bench_201", "coral_usb3", "must have a header"),
        ("cell\nbest\n", "nas_bench_201", "coral_usb3", "must have a column architecture"),
        ("architecture\nbest\nw0\n", "nas_bench_201", "coral_usb3", "line 3"),
        ("architecture\nbest\n", "resnet", "coral_usb3", "a search space must be one of"),
        ("architecture\nbest\n", "nas_bench_201", "abacus", "abacus"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    content: str | None,
    space: str,
    device: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (tmp_path / "in.csv").write_text(content)
    assert main(arguments(tmp_path, space, device)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("option", ["--method", "--cost-model"])
def test_energy_is_spoken_of_where_it_is_known(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("architecture\nbest\n")
    assert main([*arguments(tmp_path), option, "macs_only"]) == 0
    assert "Energy" not in capsys.readouterr().out
    assert main([*arguments(tmp_path), option, "analytic"]) == 0
    assert "Energy is modelled, uncalibrated." in capsys.readouterr().out
