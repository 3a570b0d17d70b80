"""What every bench promises; a new file in the folder is under test at once."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hw.measuring.bench import BenchError, BenchSettings, bench_names, load_bench
from hw.protocols import Bench, CompilingBench, RunningBench
from hw.report import CostReport
from hw.tflite.model import TfliteError

SETTINGS = BenchSettings(runs=20, timeout_s=60)


@pytest.fixture(params=bench_names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bench(name: str) -> Bench:
    return load_bench(name, SETTINGS)


def _write(folder: Path, data: bytes, name: str = "model.tflite") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_the_benches_of_the_public_interface_exist() -> None:
    names = {"host_cpu", "coral_board", "edgetpu_compiler", "google_tensor", "torq", "vela"}
    assert names <= set(bench_names())


def test_a_bench_is_one_final_class_named_after_its_file(name: str) -> None:
    module = importlib.import_module(f"hw.benches.{name}")
    classes = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and one.__module__ == module.__name__
    ]
    assert [one.__name__.lower() for one in classes] == [name.replace("_", "")]
    assert getattr(classes[0], "__final__", False)


def test_a_bench_runs_files_or_compiles_them(bench: Bench) -> None:
    assert isinstance(bench, RunningBench) != isinstance(bench, CompilingBench)


def test_summary_and_what_is_missing_are_one_line(bench: Bench) -> None:
    missing = bench.missing()
    for text in (bench.summary, bench.missing() or "nothing"):
        assert text
        assert "\n" not in text
    assert missing is None or "must be" in missing


@pytest.mark.parametrize("data", [None, b"", b"not a model at all", bytes(64)])
def test_what_is_no_model_is_refused_in_one_line(
    bench: Bench, tmp_path: Path, data: bytes | None
) -> None:
    path = tmp_path / "model.tflite"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(TfliteError, match=r"model\.tflite: must be") as caught:
        bench.measure(path)
    assert "\n" not in str(caught.value)


def test_a_bench_that_is_not_at_hand_says_what_it_lacks(
    bench: Bench, tmp_path: Path, tiny_tflite: Callable[..., bytes]
) -> None:
    missing = bench.missing()
    if missing is None:
        pytest.skip("it is at hand")
    path = _write(tmp_path, tiny_tflite())
    _write(tmp_path, tiny_tflite(["edgetpu-custom-op"]), "model_edgetpu.tflite")
    with pytest.raises(BenchError) as caught:
        bench.measure(path)
    assert str(caught.value) == f"{missing}, but got none."


def test_a_bench_at_hand_measures(
    bench: Bench, tmp_path: Path, tiny_tflite: Callable[..., bytes]
) -> None:
    if bench.missing() is not None:
        pytest.skip("it is not at hand")
    path = _write(tmp_path, tiny_tflite(["MAXIMUM", "MINIMUM"]))
    before = sorted(tmp_path.iterdir())
    report = bench.measure(path)
    assert report.method in ("measured", "compiled")
    assert (report.latency_interval_ms is None) == (report.method == "compiled")
    if report.method == "measured":
        assert report.latency_interval_ms is not None
        low, high = report.latency_interval_ms
        assert 0 < low <= report.latency_ms <= high
    assert report.macs == 0
    assert sorted(tmp_path.iterdir()) == before
    record = json.loads(json.dumps(dataclasses.asdict(report)))
    assert set(record) == {field.name for field in dataclasses.fields(CostReport)}


def test_wrong_name_lists_the_menu() -> None:
    with pytest.raises(BenchError, match=rf"one of {', '.join(bench_names())}, but got 'abacus'"):
        load_bench("abacus", SETTINGS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runs": 0}, "runs must be a number from 1 up, but got 0"),
        ({"threads": 0}, "threads must be from 1 to .*, but got 0"),
        ({"threads": 10**6}, "the processors of this machine, but got 1000000"),
        ({"timeout_s": 0.0}, "timeout must be a positive time, but got 0.0 s"),
        ({"timeout_s": float("nan")}, "timeout must be a positive time"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        BenchSettings(**settings)  # type: ignore[arg-type]
