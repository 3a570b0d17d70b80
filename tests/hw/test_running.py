"""A file run on given samples, in a process of its own."""

from __future__ import annotations

import numpy as np
import pytest

from hw.benches.host_cpu import HostCpu
from hw.measuring.bench import BenchError, BenchSettings
from hw.measuring.running import plain_outputs
from hw.protocols import RunningBench

SETTINGS = BenchSettings(timeout_s=60)


def test_outputs_are_those_of_each_sample(tmp_path, tiny_tflite):
    path = tmp_path / "net.tflite"
    path.write_bytes(tiny_tflite(["MAXIMUM"]))
    rng = np.random.default_rng(0)
    samples = [rng.integers(-128, 127, (3, 4, 4, 2), np.int8) for _ in range(2)]
    bench = HostCpu(SETTINGS)
    assert isinstance(bench, RunningBench)
    for outputs in (bench.outputs(path, samples), plain_outputs(path, samples, SETTINGS)):
        (one,) = outputs
        assert (one == np.maximum(*samples)).all()


def test_what_does_not_run_is_one_line(tmp_path, tiny_tflite):
    path = tmp_path / "net.tflite"
    path.write_bytes(tiny_tflite(["nobody_knows"]))
    samples = [np.zeros((1, 4, 4, 2), np.int8)] * 2
    with pytest.raises(BenchError, match=r"net\.tflite: must run in LiteRT, but got .*custom"):
        HostCpu(SETTINGS).outputs(path, samples)
