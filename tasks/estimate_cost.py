"""Costs an exported file: what the device is asked to run, not what was meant."""

from __future__ import annotations

from pathlib import Path

from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.report import CostReport
from hw.tflite import read_tflite
from tasks.params import CostParams


def estimate_file(tflite: Path, cost: CostParams) -> CostReport:
    """The cost report of one quantized ``.tflite``.

    Raises:
        TfliteError: The file cannot be read or is not quantized.
        DeviceError: There is no such device.
    """
    model = read_tflite(tflite)
    model.check_quantized()
    return load_cost_model(cost.method, load_device(cost.device)).estimate(
        model.graph, dict(model.unsupported)
    )
