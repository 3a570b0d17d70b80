"""What networks take, part by part: each coefficient times a number that the network alone has.

The latency is the call, and of each op its start, its multiply-accumulates, the elements that it
reads and writes, and its weights; each at a rate of the op's class. Views cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.columns import BINARY, FloatArray, mask_of, op_macs
from hw.families.by_kind.profile import CLASSES, MOVING, MULTIPLYING, Device
from spaces.graph import (
    BoolArray,
    IntArray,
    OpBatch,
    OpColumns,
    OpKind,
    Trait,
    kinds_with,
)

VIEWS = kinds_with(Trait.VIEW)
DENSE = kinds_with(Trait.PRODUCT)
POOLS = kinds_with(Trait.POOLING)
ARITHMETIC = kinds_with(Trait.UNARY) | BINARY
CONVOLUTIONS = frozenset({OpKind.CONV_2D, OpKind.TRANSPOSE_CONV})
PARTS = ("start", "compute", "movement", "weights")
"""Of an op; a network has the call beside them."""
FEATURES = (*(f"{name} ops" for name in CLASSES), *PARTS)
LEAST_MS = 0.001
"""Parts of a latency below this are alike."""
COEFFICIENTS: dict[str, float] = {
    "call.fixed_ms": 2.0,
    "call.weights_gb_per_s": 2.0,
    **{f"{name}.start_us": 2.0 for name in CLASSES},
    **{f"{name}.gmacs_per_s": 2.0 for name in MULTIPLYING},
    **{f"{name}.elements_per_us": 2.0 for name in CLASSES},
}
"""What a calibration fits, and the standard deviation of the logarithm within which it is
expected. Assumed: nothing is known of such a device."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Networks, ``n`` of them, in numbers that no device changes.

    Attributes:
        ops: Ops of each class, ``[n, len(CLASSES)]``.
        macs_by_class, elements: Their multiply-accumulates, and what they read and write.
        weights: Of each network, ``[n]``.
    """

    ops: FloatArray
    macs_by_class: FloatArray
    elements: FloatArray
    weights: FloatArray

    @property
    def macs(self) -> FloatArray:
        """Multiply-accumulates of each network, ``[n]``."""
        result: FloatArray = self.macs_by_class.sum(axis=1)
        return result

    def rows(self, which: IntArray) -> Counted:
        """Some of the networks."""
        return Counted(
            self.ops[which], self.macs_by_class[which], self.elements[which], self.weights[which]
        )


@dataclass(frozen=True, slots=True)
class OpNumbers:
    """The same of each distinct op of a batch, ``[n_ops]``."""

    classes: IntArray
    free: BoolArray
    macs: FloatArray
    elements: FloatArray
    weights: FloatArray


def numbers_of(ops: OpColumns) -> OpNumbers:
    """Class, multiply-accumulates, elements and weights of ops."""
    taps = ops.kernel_size.prod(axis=1)
    classes = np.full(len(ops.kind), CLASSES.index("moving"))
    for name, which in (
        ("elementwise", mask_of(ARITHMETIC)[ops.kind]),
        ("pooling", mask_of(POOLS)[ops.kind]),
        ("dense", mask_of(DENSE)[ops.kind]),
        ("convolution", mask_of(CONVOLUTIONS)[ops.kind]),
        ("pointwise", mask_of(CONVOLUTIONS)[ops.kind] & (taps == 1)),
        ("depthwise", ops.kind == _number(OpKind.DEPTHWISE_CONV_2D)),
    ):
        classes = np.where(which, CLASSES.index(name), classes)
    before, after = ops.input_hwc.prod(axis=1), ops.output_hwc.prod(axis=1)
    seen = np.where(mask_of(POOLS)[ops.kind], np.maximum(taps * after, before), before)
    seen = np.where(mask_of(BINARY)[ops.kind], 2 * before, seen)
    macs = op_macs(ops)
    places = np.maximum(ops.output_hwc[:, :2].prod(axis=1), 1)
    weights = np.where(np.isin(classes, range(len(MULTIPLYING))), macs / places, 0.0)
    return OpNumbers(
        classes=classes.astype(np.int64),
        free=mask_of(VIEWS)[ops.kind],
        macs=macs,
        elements=(seen + after).astype(np.float64),
        weights=np.maximum(weights, ops.constant),
    )


def counted(batch: OpBatch) -> Counted:
    """Networks of a batch."""
    numbers = numbers_of(batch.distinct)
    works = batch.live & ~numbers.free[batch.index]
    cells = numbers.classes[batch.index] + len(CLASSES) * np.arange(len(works))[:, None]
    size = len(works) * len(CLASSES)

    def summed(column: FloatArray) -> FloatArray:
        each = np.where(works, column[batch.index], 0.0)
        sums = np.bincount(cells.ravel(), each.ravel(), size).astype(np.float64)
        return sums.reshape(-1, len(CLASSES))

    return Counted(
        ops=summed(np.ones(len(numbers.macs))),
        macs_by_class=summed(numbers.macs),
        elements=summed(numbers.elements),
        weights=np.where(works, numbers.weights[batch.index], 0.0).sum(axis=1),
    )


def rates_of(device: Device) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Milliseconds of a start, a multiply-accumulate, an element by class; and of a weight."""
    sections = [getattr(device, name) for name in CLASSES]
    start = np.array([one.start_us / 1e3 for one in sections])
    element = np.array([1 / (one.elements_per_us * 1e3) for one in sections])
    mac = [1 / (getattr(device, name).gmacs_per_s * 1e6) for name in MULTIPLYING]
    macs = np.array([*mac, *(0.0 for _ in MOVING)])
    return start, macs, element, 1 / (device.call.weights_gb_per_s * 1e6)


def parts_of(networks: Counted, device: Device) -> FloatArray:
    """Milliseconds of each of :data:`PARTS`, ``[n, len(PARTS)]``."""
    start, mac, element, weight = rates_of(device)
    spent = (
        networks.ops @ start,
        networks.macs_by_class @ mac,
        networks.elements @ element,
        networks.weights * weight,
    )
    return np.stack(spent, axis=1)


def latency_ms(networks: Counted, device: Device) -> FloatArray:
    """The call and all parts, ``[n]``."""
    result: FloatArray = device.call.fixed_ms + parts_of(networks, device).sum(axis=1)
    return result


def features(networks: Counted, device: Device) -> FloatArray:
    """``[n, len(FEATURES)]``: logarithms of 1 + counts, and of ``LEAST_MS`` + milliseconds."""
    spent = np.log(LEAST_MS + parts_of(networks, device))
    return np.concatenate([np.log1p(networks.ops), spent], axis=1)


def _number(kind: OpKind) -> int:
    return list(OpKind).index(kind)
