"""The board's bench: which file is timed, which one is described; for real where there is one."""

import dataclasses
from pathlib import Path

import pytest

from hw.benches import coral_board
from hw.benches.coral_board import CoralBoard
from hw.families.edge_tpu.compiled_package import read_compiled
from hw.measuring.bench import BenchError, BenchSettings
from hw.measuring.timing import Timing

SHARED = Path(__file__).parents[2].parent / "shared" / "tflite"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")

ORIGINAL = ["MAXIMUM", "MINIMUM"]
COMPILED = ["edgetpu-custom-op", "MINIMUM"]


@pytest.fixture
def timed(monkeypatch):
    """A machine with a library, and what is timed on it."""
    orders = []

    def time_file(tflite, settings, cure, delegate):
        orders.append((tflite.name, settings, delegate))
        return Timing(9.0, (2.0, 1.0, 3.0))

    monkeypatch.setattr(coral_board, "time_file", time_file)
    monkeypatch.setattr(coral_board, "_loads", lambda library: True)
    return orders


@pytest.fixture
def folder(tmp_path, tiny_tflite):
    (tmp_path / "net.tflite").write_bytes(tiny_tflite(ORIGINAL))
    (tmp_path / "net_edgetpu.tflite").write_bytes(tiny_tflite(COMPILED))
    return tmp_path


@pytest.mark.parametrize("given", ["net.tflite", "net_edgetpu.tflite"])
def test_the_compiled_file_is_timed_and_the_original_described(timed, folder, given):
    settings = BenchSettings(runs=7)
    report = CoralBoard(settings).measure(folder / given)
    assert timed == [("net_edgetpu.tflite", settings, "libedgetpu.so.1")]
    assert (report.device, report.method) == ("coral_board", "measured")
    assert (report.latency_ms, report.first_inference_ms) == (2, 9)
    assert (report.macs, report.peak_memory_bytes) == (0, 3 * 32)
    assert report.host_ops == (("op1", "left on the host by edgetpu_compiler"),)
    assert report.weight_bytes is report.streamed_bytes is None


def test_without_the_original_what_is_not_known_is_none(timed, folder):
    (folder / "net.tflite").unlink()
    report = CoralBoard(BenchSettings()).measure(folder / "net_edgetpu.tflite")
    known = {name for name, value in dataclasses.asdict(report).items() if value is not None}
    assert known == {
        "device",
        "method",
        "latency_ms",
        "first_inference_ms",
        "host_ops",
        "per_op",
        "out_of_range",
        "left_out",
        "supposed",
    }
    assert report.out_of_range == ()


@needs_models
def test_weights_are_those_of_the_package(timed):
    path = SHARED / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    report = CoralBoard(BenchSettings()).measure(path)
    totals = read_compiled(path).totals()
    assert report.weight_bytes == totals["cached_parameter_bytes"] > 400_000
    assert (report.streamed_bytes, report.macs) == (0, 13_570_304)
    assert report.host_ops == ()


@needs_models
def test_host_ops_of_a_real_compiled_file_are_named(timed):
    report = CoralBoard(BenchSettings()).measure(
        SHARED / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    )
    assert [name for name, _ in report.host_ops][:2] == ["ResizeBilinear", "ResizeBilinear1"]
    assert len(report.host_ops) == 8


@pytest.mark.parametrize("beside", [None, ORIGINAL])
def test_a_model_that_is_not_compiled_is_refused(timed, folder, tiny_tflite, beside):
    (folder / "net_edgetpu.tflite").unlink()
    if beside:
        (folder / "net_edgetpu.tflite").write_bytes(tiny_tflite(beside))
    with pytest.raises(
        BenchError, match=r"must be the output of edgetpu_compiler .*net_edgetpu\.tflite.* alone"
    ):
        CoralBoard(BenchSettings()).measure(folder / "net.tflite")
    assert not timed


def test_a_library_that_does_not_load_is_one_line(folder, monkeypatch):
    monkeypatch.setattr(coral_board, "LIBRARY", "libabsent.so.1")
    with pytest.raises(BenchError, match=r"libedgetpu\.so\.1 must be installed .*, but got none"):
        CoralBoard(BenchSettings()).measure(folder / "net.tflite")


def test_a_delegate_that_finds_no_device_is_one_line_with_a_cure(folder, monkeypatch):
    # Any library that is none of a delegate: the process that would time it says what it lacks.
    monkeypatch.setattr(coral_board, "LIBRARY", "libc.so.6")
    with pytest.raises(
        BenchError, match=r"in LiteRT with libc\.so\.6, but got .*\. Check that an Edge TPU is"
    ) as caught:
        CoralBoard(BenchSettings(timeout_s=30)).measure(folder / "net.tflite")
    assert "\n" not in str(caught.value)


@needs_models
@pytest.mark.device
def test_a_real_device_is_faster_on_the_second_inference():
    bench = CoralBoard(BenchSettings())
    if bench.missing() is not None:
        pytest.skip(bench.missing())
    report = bench.measure(SHARED / "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    assert 0 < report.latency_ms < report.first_inference_ms
