"""A kit measures where the project is not; what it writes is calibrated with."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.__main__ import main
from hw.measuring.kit_script import latency_of
from tasks.calibrate_device import run as calibrate
from tasks.write_kit import run

SPACE = "mobilenet_v2_small"
# As LiteRT's benchmark_model documents its output, options left out.
NEWER = """INFO: STARTING!
INFO: Graph: [/data/local/tmp/a.tflite]
INFO: The input model file size (MB): 3.58
INFO: Initialized session in 5.685ms.
INFO: count=11 first=58135 curr=46201 min=45003 max=58135 avg=46890.2 std=3600 p5=1 median=46000
INFO: Running benchmark for at least 50 iterations and at least 1 seconds.
INFO: count=50 first=4371 curr=4321 min=4211 max=5012 avg=4365.2 std=123 p5=4 median=4350 p95=4
INFO: Inference timings in us: Init: 5685, First inference: 18535, Warmup (avg): 14462.3, \
Inference (avg): 4365.2
"""
OLDER = """STARTING!
count=35 first=29120 curr=14400 min=14300 max=29120 avg=14575.2 std=500
Inference timings in us: Init: 5685, First inference: 18535, Warmup (avg): 14462.3, \
Inference (avg): 14575.2
"""


@pytest.fixture(autouse=True)
def small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.candidates.design.POOL", 40)


def started(folder: Path, *options: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """The script on its own: nothing of the project is on the path of its imports."""
    known = {"PATH": f"{path}:{os.environ['PATH']}"}
    command = [sys.executable, "-I", str(folder / "measure.py"), *options]
    return subprocess.run(
        command, cwd=folder.parent, env=known, capture_output=True, text=True, check=False
    )


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "rows.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_board_measures_and_its_rows_become_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hw.calibrating.calibration.FOLDS", 2)
    monkeypatch.setattr("hw.calibrating.calibration.REPEATS", 1)
    made = run("any_processor", SPACE, 11, 0, None, tmp_path / "kit")
    shutil.copytree(tmp_path / "kit", tmp_path / "board")
    (tmp_path / "board" / "networks" / made[3].name).write_bytes(b"broken")
    first = started(tmp_path / "board", "--runs", "5")
    assert (first.returncode, first.stderr) == (0, "")
    assert "10 of 11 networks measured" in first.stdout
    shutil.copy(made[3], tmp_path / "board" / "networks")
    found = rows(tmp_path / "board")
    (failed,) = [row for row in found if row["failed"]]
    assert failed["tflite"] == f"networks/{made[3].name}" and failed["latency_ms"] == ""
    shutil.copy(tmp_path / "board" / "rows.csv", tmp_path / "kit")
    known = calibrate("any_processor", tmp_path / "kit" / "rows.csv", tmp_path / "my.yaml")
    assert known.device.calibration is not None and known.device.calibration.count == 10
    again = started(tmp_path / "board", "--runs", "5")
    assert "11 of 11 networks measured" in again.stdout and again.stdout.count(" ms") == 1
    other = started(tmp_path / "board", "--threads", "2")
    assert other.returncode == 2 and "Rename it" in other.stderr


def test_a_phone_is_asked_by_adb(tmp_path: Path) -> None:
    run("any_processor", SPACE, 2, 0, None, tmp_path / "kit")
    adb = tmp_path / "adb"
    adb.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/asked\ncat <<'EOF'\n{NEWER}EOF\n")
    adb.chmod(0o755)
    done = started(
        tmp_path / "kit", "--adb", "--serial", "x1", "--use_gpu=true", path=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert [row["latency_ms"] for row in rows(tmp_path / "kit")] == ["4.350000"] * 2
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0].startswith("-s x1 push ") and asked[2].startswith("-s x1 shell rm -f ")
    assert "--num_threads=1 --num_runs=100 --use_gpu=true" in asked[1]
    adb.write_text("#!/bin/sh\necho 'error: no devices/emulators found'\nexit 1\n")
    (tmp_path / "kit" / "rows.csv").unlink()
    gone = started(tmp_path / "kit", "--adb", path=str(tmp_path))
    assert gone.returncode == 1
    assert rows(tmp_path / "kit")[0]["failed"].endswith("error: no devices/emulators found")


@pytest.mark.parametrize(
    ("text", "expected"), [(NEWER, 4.35), (OLDER, 14.5752), ("ERROR: Failed", None), ("", None)]
)
def test_output_of_benchmark_model_is_read(text: str, expected: float | None) -> None:
    assert latency_of(text) == expected


def test_a_coral_needs_compiled_files(tmp_path: Path) -> None:
    run("coral_usb3", SPACE, 1, 0, None, tmp_path / "kit")
    done = started(tmp_path / "kit", "--delegate", "libedgetpu.so.1")
    assert done.returncode == 1
    assert "edgetpu_compiler" in rows(tmp_path / "kit")[0]["failed"]
    assert "measure.py --delegate libedgetpu.so.1" in (tmp_path / "kit/README.md").read_text()


def test_the_command_writes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit = ["kit", "--device", "coral_usb3", "--space", SPACE, "--networks", "3"]
    assert main([*kit, "--out", str(tmp_path / "kit")]) == 0
    assert "3 networks of mobilenet_v2_small" in capsys.readouterr().out
    assert len(list((tmp_path / "kit" / "networks").iterdir())) == 3
    (tmp_path / "file").write_text("")
    assert main([*kit, "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
