"""The two protocols of this room, a computed cost and a measured one, and the models by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from hw.families.edge_tpu.profile import Device
from hw.report import CostReport
from spaces.graph import OpBatch, OpGraph

FloatArray = NDArray[np.float64]


class CostModel(Protocol):
    """Cost without a device at hand."""

    def estimate(self, graph: OpGraph, refused: Mapping[str, str] | None = None) -> CostReport:
        """Cost of one network.

        Grouped convolutions are costed in the form in which the device runs them (see the
        profile's ``grouped_convolution``), whichever form the graph holds. ``refused`` names ops
        that stay on the host for reasons a graph does not show (data types), with the reason.
        """

    def estimate_many(self, batch: OpBatch) -> Mapping[str, FloatArray]:
        """Columns by the names of :class:`CostReport`'s number fields, one row an architecture."""


class Bench(Protocol):
    """A compiler or a board at hand."""

    @property
    def summary(self) -> str:
        """One line for listings."""

    def missing(self) -> str | None:
        """What this machine must have for it and has not; None: it can measure."""

    def measure(self, tflite: Path) -> CostReport:
        """Cost of one ``.tflite`` file as observed."""


class CostModelError(ValueError):
    """A cost model that does not exist."""


def cost_model_names() -> tuple[str, ...]:
    """Names of the cost models that exist, sorted."""
    import hw.cost_models

    return names_in(hw.cost_models)


def load_cost_model(method: str, device: Device) -> CostModel:
    """The cost model of module ``hw.cost_models.<method>`` for ``device``.

    Raises:
        CostModelError: There is none.
    """
    if method not in cost_model_names():
        raise CostModelError(
            f"cost model must be one of {', '.join(cost_model_names())}, but got {method!r}."
        )
    return cast(CostModel, class_of(f"hw.cost_models.{method}")(device))


def names_in(package: ModuleType) -> tuple[str, ...]:
    """Modules of a folder of things, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def class_of(module: str) -> Any:
    """The class named after its module: ``MacsOnly`` of ``hw.cost_models.macs_only``."""
    words = module.rpartition(".")[2].split("_")
    return getattr(importlib.import_module(module), "".join(word.capitalize() for word in words))
