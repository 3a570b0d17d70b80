"""Timing on this processor, for real; and what a file may do to the process that runs it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hw.benches.host_cpu import HostCpu
from hw.measuring import stopwatch
from hw.measuring.bench import BenchError, BenchSettings
from hw.measuring.child import Finished

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "tflite"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")


def write(folder, data, name="model.tflite"):
    path = folder / name
    path.write_bytes(data)
    return path


def measure(path, **settings):
    return HostCpu(BenchSettings(**{"runs": 20, "timeout_s": 60, **settings})).measure(path)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_models_of_several_inputs_are_timed(tmp_path, tiny_tflite, dtype):
    report = measure(write(tmp_path, tiny_tflite(["MAXIMUM"] * 3, dtype)))
    assert report.device.startswith("host_cpu ") and report.device.endswith(", 1 thread")
    assert report.method == "measured"
    low, high = report.latency_interval_ms
    assert 0 < low <= report.latency_ms <= high < 100
    assert report.first_inference_ms > 0
    assert (report.energy_mj, report.host_ops, report.per_op) == (None, (), ())
    # Derived: three tensors of 32 elements live at once, of 1 byte each where that is known.
    assert report.peak_memory_bytes == (None if dtype == "float32" else 3 * 32)
    assert (report.macs, report.weight_bytes, report.streamed_bytes) == (0, 0, 0)


def test_few_runs_tell_no_spread(tmp_path, tiny_tflite):
    assert measure(write(tmp_path, tiny_tflite()), runs=3).latency_interval_ms is None


def mobilenet_v1_bytes(width):
    """Derived: a byte a weight, four a bias; stem, 13 depthwise separable blocks, classifier."""
    channels = int(32 * width)
    stored = (27 + 4) * channels
    for filters in [64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]:
        after = int(filters * width)
        stored += (9 + 4) * channels + (channels + 4) * after
        channels = after
    return stored + (channels + 4) * 1001


@needs_models
def test_a_real_model_is_timed_with_its_facts():
    report = measure(SHARED / "mobilenet_v1_0.25_128_quant.tflite")
    assert 0.01 < report.latency_ms < 500
    assert report.macs == 13_570_304
    assert report.weight_bytes == mobilenet_v1_bytes(0.25)
    # Derived: input and output of the first pointwise convolution, 64x64x8 and 64x64x16.
    assert report.peak_memory_bytes == 64 * 64 * 24


@needs_models
def test_a_model_that_cannot_be_invoked_is_one_line():
    with pytest.raises(BenchError, match=r"in LiteRT, but got .*fake-op-double") as caught:
        measure(SHARED / "model_invoking_error.tflite")
    assert "\n" not in str(caught.value)
    assert "://" not in str(caught.value)


def test_an_op_without_a_kernel_is_one_line(tmp_path, tiny_tflite):
    path = write(tmp_path, tiny_tflite(["MAXIMUM", "my-op"]))
    with pytest.raises(BenchError, match=r"custom op: my-op\..* to builtin ops only\.") as caught:
        measure(path)
    assert "\n" not in str(caught.value)


def test_a_compiled_model_is_sent_to_the_board(tmp_path, tiny_tflite):
    path = write(tmp_path, tiny_tflite(["edgetpu-custom-op"]))
    with pytest.raises(BenchError, match=r"be the model before compilation .*coral_board"):
        measure(path)


def test_a_type_without_inputs_of_its_own_is_one_line(tmp_path, tiny_tflite):
    with pytest.raises(BenchError, match="must be numbers or booleans, but got one of type"):
        measure(write(tmp_path, tiny_tflite(dtype="complex64")))


def test_a_file_that_takes_too_long_is_stopped(tmp_path, tiny_tflite):
    with pytest.raises(BenchError, match=r"must run within 0\.5 s, but got no end"):
        measure(write(tmp_path, tiny_tflite()), runs=10**9, timeout_s=0.5)


@pytest.mark.parametrize(
    ("finished", "words"),
    [
        (Finished(-11, "", "INFO: XNNPACK"), "a crash with SIGSEGV"),
        (Finished(-6, '{"first_ms": 1', ""), "a crash with SIGABRT"),
        (Finished(1, "", "Traceback"), "exit status 1"),
    ],
)
def test_a_crash_is_one_line(tmp_path, tiny_tflite, monkeypatch, finished, words):
    monkeypatch.setattr(stopwatch, "run_child", lambda *_: finished)
    with pytest.raises(BenchError, match=f"must run in LiteRT, but got {words}"):
        measure(write(tmp_path, tiny_tflite()))


def test_an_answer_before_a_crash_at_the_end_counts(tmp_path, tiny_tflite, monkeypatch):
    finished = Finished(-11, '{"first_ms": 2.0, "runs_ms": [1.0, 3.0, 1.5]}', "")
    monkeypatch.setattr(stopwatch, "run_child", lambda *_: finished)
    report = measure(write(tmp_path, tiny_tflite()))
    assert (report.latency_ms, report.first_inference_ms) == (1.5, 2)


def test_damage_is_an_error_or_harmless(tmp_path, tiny_tflite):
    whole = tiny_tflite(["MAXIMUM"] * 4)
    for keep in (0.3, 0.6, 0.9):
        with pytest.raises(ValueError, match="must be a whole"):
            measure(write(tmp_path, whole[: int(len(whole) * keep)]))


def test_paths_are_those_of_the_caller(tmp_path, tiny_tflite, monkeypatch):
    write(tmp_path, tiny_tflite(), "with space;$x.tflite")
    monkeypatch.chdir(tmp_path)
    assert measure(Path("with space;$x.tflite")).latency_ms > 0


def test_threads_reach_the_interpreter(monkeypatch):
    made = {}

    class Runtime:
        class Interpreter:
            def __init__(self, path, **options):
                made.update(options, path=path)

        @staticmethod
        def load_delegate(library):
            return f"delegate of {library}"

    monkeypatch.setattr(stopwatch, "_runtime", lambda _: Runtime)
    stopwatch.opened(stopwatch.Order("a.tflite", None, 5, 3, 0))
    assert made == {"path": "a.tflite", "num_threads": 3, "experimental_delegates": None}
    stopwatch.opened(stopwatch.Order("a.tflite", "lib.so", 5, 1, 0))
    assert made["experimental_delegates"] == ["delegate of lib.so"]


def test_the_interpreter_may_print_what_it_likes(tmp_path, tiny_tflite):
    order = '{"tflite": "absent.tflite", "delegate": null, "runs": 1, "threads": 1, "seed": 0}'
    code = (
        "import os, sys; from hw.measuring import stopwatch\n"
        "def noisy(order): os.write(1, b'noise'); raise ValueError('a\\nb')\n"
        "stopwatch.opened = noisy\n"
        "sys.exit(stopwatch.main(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, order], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, '{"error": "a b"}')
    assert "noise" in done.stderr


def test_links_are_followed(tmp_path, tiny_tflite):
    store = tmp_path / "store"
    store.mkdir()
    shutil.move(write(tmp_path, tiny_tflite()), store / "0af3")
    (tmp_path / "linked.tflite").symlink_to(store / "0af3")
    assert measure(tmp_path / "linked.tflite").latency_ms > 0
