"""A table of measurements becomes a profile; each mistake is one line."""

from __future__ import annotations

import csv
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.calibration_text import told
from hw.calibrating.calibration import Calibrated
from hw.calibrating.fitting import CalibrationError
from hw.device import DeviceError, load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.tflite.reader import read_tflite
from spaces.heads.classification import classification
from spaces.menu import load_space
from spaces.space import SpaceError
from spaces.walk import sample
from tasks.calibrate_device import run
from tasks.candidates.architecture_table import TableError

ROOT = Path(__file__).parents[2]
SPACE = "nas_bench_201"
Row = dict[str, str]


def write(path: Path, rows: list[Row]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Twelve networks of a device that is a third slower than the profile, with 1 % noise."""
    space, rng = load_space(SPACE), np.random.default_rng(0)
    model = Analytic(load_device("coral_dev_board"))
    made = []
    for _ in range(12):
        point = sample(space, rng)
        report = model.estimate(classification(space.lower(point), 10))
        noisy = report.known_latency_ms * 1.33 * np.exp(0.01 * rng.standard_normal())
        made.append({"architecture": point.to_json(), "latency_ms": f"{noisy:.6f}"})
    return made


@pytest.fixture(scope="module")
def written(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> tuple[Calibrated, Path]:
    """What was found on the rows, and the profile."""
    folder = tmp_path_factory.mktemp("written")
    source, target = write(folder / "rows.csv", rows), folder / "board.yaml"
    return run("coral_dev_board", source, target, SPACE), target


@pytest.fixture
def few_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at no score of networks left out: each fold is a fit."""
    monkeypatch.setattr("hw.calibrating.calibration.FOLDS", 2)


def test_a_profile_is_written_that_estimates_as_measured(
    written: tuple[Calibrated, Path],
) -> None:
    found, target = written
    assert found.scores.mape_percent < 8 < found.macs_only.mape_percent
    device = load_device(target)
    assert device == found.device
    assert device.calibration is not None and device.calibration.count == 12
    assert "rows.csv: 12 networks of nas_bench_201" in device.summary
    space = load_space(SPACE)
    point = sample(space, np.random.default_rng(7))
    graph = classification(space.lower(point), 10)
    before = Analytic(load_device("coral_dev_board")).estimate(graph).known_latency_ms
    after = Analytic(device).estimate(graph)
    assert after.known_latency_ms == pytest.approx(1.33 * before, rel=0.06)
    assert after.latency_interval_ms is not None
    assert after.latency_interval_ms[0] < after.known_latency_ms < after.latency_interval_ms[1]


def test_what_was_fitted_says_so_and_what_was_not_keeps_its_source(
    written: tuple[Calibrated, Path],
) -> None:
    before = dict(load_device("coral_dev_board").sources)
    after = dict(load_device(written[1]).sources)
    assert after["link.streaming_ms_per_mib"].startswith("fitted: python -m flows calibrate")
    assert after["host.scores_per_us"] == before["host.scores_per_us"]
    assert after["chip.tile_rows"] == before["chip.tile_rows"]


@pytest.mark.usefixtures("few_folds")
def test_files_are_found_beside_the_table(
    tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    made = []
    for length in range(1, 11):
        name = f"models/{length}.tflite"
        (tmp_path / name).write_bytes(tiny_tflite(("MAXIMUM",) * length))
        made.append({"tflite": name, "latency_ms": f"{0.3 + 0.004 * length}", "note": "x"})
    source = write(tmp_path / "rows.csv", made)
    found = run("coral_usb3", source, tmp_path / "out.yaml")
    assert found.scores.mape_percent < 2


def test_a_network_that_cannot_be_estimated_whole_is_refused(
    tiny_tflite: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tflite").write_bytes(tiny_tflite(("MAXIMUM",)))
    model = dataclasses.replace(read_tflite(tmp_path / "a.tflite"), left_out=("a loop",))
    monkeypatch.setattr("tasks.calibrate_device.read_tflite", lambda _: model)
    named = [{"tflite": f"{number}.tflite", "latency_ms": "1"} for number in range(10)]
    with pytest.raises(
        TableError, match=r"line 2, column tflite: .*whole, .*a loop would be left"
    ):
        run("coral_usb3", write(tmp_path / "rows.csv", named), tmp_path / "out.yaml")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda rows: rows[:9], CalibrationError, "must have at least 10 measurements, but got 9"),
        (
            lambda rows: [*rows[:5], {**rows[5], "latency_ms": "-1"}, *rows[6:]],
            TableError,
            "line 7, column latency_ms: must be above 0, but got -1",
        ),
        (
            lambda rows: [*rows, rows[3]],
            TableError,
            "line 14, column architecture: must name each network once, but got that of line 5",
        ),
        (
            lambda rows: [{"architecture": row["architecture"]} for row in rows],
            TableError,
            "must have a column latency_ms, but got architecture",
        ),
        (
            lambda rows: [*rows[:-1], {**rows[-1], "latency_ms": "fast"}],
            TableError,
            "line 13, column latency_ms: must be a number, but got 'fast'",
        ),
        (
            lambda rows: [{"latency_ms": row["latency_ms"]} for row in rows],
            TableError,
            "must have a column architecture",
        ),
    ],
)
def test_a_wrong_table_is_refused(
    rows: list[Row],
    change: Callable[[list[Row]], list[Row]],
    error: type[Exception],
    message: str,
    tmp_path: Path,
) -> None:
    source = write(tmp_path / "rows.csv", change(rows))
    with pytest.raises(error, match=message):
        run("coral_dev_board", source, tmp_path / "out.yaml", SPACE)
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1e-3, r"must be in milliseconds .* If these are seconds, multiply by 1000"),
        (1e3, r"must be in milliseconds .* If these are microseconds, divide by 1000"),
    ],
)
def test_a_table_in_another_unit_is_refused(
    rows: list[Row], factor: float, words: str, tmp_path: Path
) -> None:
    source = write(tmp_path / "rows.csv", [scaled(row, factor) for row in rows])
    with pytest.raises(TableError, match=words):
        run("coral_dev_board", source, tmp_path / "out.yaml", SPACE)
    assert not (tmp_path / "out.yaml").exists()


def scaled(row: Row, factor: float) -> Row:
    return {**row, "latency_ms": f"{float(row['latency_ms']) * factor:.9g}"}


@pytest.mark.parametrize("factor", [40.0, 1 / 40, 1e3, 1e-3])
@pytest.mark.parametrize("several", [1, 3])
def test_a_row_in_another_unit_is_named(
    rows: list[Row], factor: float, several: int, tmp_path: Path
) -> None:
    wrong = range(7, 7 + several)
    made = [scaled(row, factor) if n in wrong else row for n, row in enumerate(rows)]
    kind = "more" if factor > 1 else "less"
    with pytest.raises(TableError, match=rf"line (9|10|11), column latency_ms: .* times {kind}"):
        run("coral_dev_board", write(tmp_path / "rows.csv", made), tmp_path / "out.yaml", SPACE)


@pytest.mark.usefixtures("few_folds")
def test_another_host_is_no_other_unit_and_an_odd_row_is_named(
    rows: list[Row], tmp_path: Path
) -> None:
    made = [scaled(row, 8.0 if n == 4 else 1.0) for n, row in enumerate(rows)]
    found = run("coral_usb2", write(tmp_path / "rows.csv", made), tmp_path / "out.yaml", SPACE)
    (said,) = found.odd
    assert said.startswith("line 6: ")
    assert f"far off the others, {said}." in told(found, tmp_path / "out.yaml")


def test_other_mistakes_are_refused(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "rows.csv", rows)
    target = tmp_path / "out.yaml"
    with pytest.raises(TableError, match="Name its space: --space"):
        run("coral_usb3", source, target)
    with pytest.raises(DeviceError, match="device must be one of"):
        run("coral_usb4", source, target, SPACE)
    with pytest.raises(SpaceError, match="a search space must be one of"):
        run("coral_usb3", source, target, "nas_bench_101")
    with monkeypatch.context() as patch, pytest.raises(TableError, match="must be writable, but"):
        patch.setattr("tasks.calibrate_device.calibrate", lambda *_: pytest.fail("it was fitted"))
        run("coral_usb3", source, source / "out.yaml", SPACE)
    named = [{"tflite": "none.tflite", "latency_ms": row["latency_ms"]} for row in rows]
    with pytest.raises(TableError, match=r"line 2, column tflite: .*must be a readable file"):
        run("coral_usb3", write(source, named), target)


def test_the_command_tells_its_scores_without_heavy_imports(
    rows: list[Row], tmp_path: Path
) -> None:
    source = write(tmp_path / "rows.csv", rows)
    code = (
        "import sys; import hw.calibrating.calibration; from flows.__main__ import main\n"
        "hw.calibrating.calibration.FOLDS = 2\n"  # each is a fit
        f"status = main(['calibrate', '--device', 'coral_dev_board', '--space', {SPACE!r},"
        f" '--measurements', {str(source)!r}, '--out', {str(tmp_path / 'o.yaml')!r}])\n"
        "assert not {'tensorflow', 'mlflow', 'prefect'} & set(sys.modules)\n"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for word in ("MAPE", "within 10 %", "Spearman", "Kendall", "line in MACs", "90 % interval"):
        assert word in done.stdout
