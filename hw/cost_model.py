"""Cost models by name."""

from __future__ import annotations

from typing import cast

from hw.family import family_of
from hw.protocols import CostModel, Device
from hw.things import class_of, names_in

OWN = "analytic"
"""The cost model that a family brings; others are files of ``hw/cost_models`` for any family."""

COMPILED = "compiled"
"""The one that takes a second a network."""


class CostModelError(ValueError):
    """A cost model that does not exist, or a device or networks that it cannot cost."""


def cost_model_names() -> tuple[str, ...]:
    """Names of the cost models that exist, sorted."""
    return tuple(sorted((OWN, *names_in("hw.cost_models"))))


def load_cost_model(method: str, device: Device) -> CostModel:
    """The family's own cost model for ``device``, or that of module ``hw.cost_models.<method>``.

    Raises:
        CostModelError: There is none.
    """
    if method not in cost_model_names():
        raise CostModelError(
            f"cost model must be one of {', '.join(cost_model_names())}, but got {method!r}."
        )
    if method == OWN:
        return family_of(device).cost_model(device)
    return cast(CostModel, class_of(f"hw.cost_models.{method}")(device))
