"""What a ``.tflite`` file holds, as far as its cost is concerned."""

from __future__ import annotations

from dataclasses import dataclass

from spaces.graph import OpGraph, Trait, kinds_with

QUANTIZED = frozenset({"int8", "uint8"})
HEAVY = kinds_with(Trait.WEIGHTED) | kinds_with(Trait.RECURRENT)
"""Kinds of ops with weights: where there are some, they say in which data type a file works."""


class TfliteError(ValueError):
    """A file that is no ``.tflite``, is damaged, or cannot run on an Edge TPU."""


@dataclass(frozen=True, slots=True)
class TfliteModel:
    """What a ``.tflite`` file holds.

    Attributes:
        path: Of the file, for messages.
        graph: Its main subgraph, or that of the signature that was asked for.
        data_types: Of each op's output, e.g. ``("conv1", "int8")``.
        unsupported: Ops that stay on the host for what the graph does not show, with the reason:
            a data type that the Edge TPU does not have, weights that are no constants, or an
            operator that has no kind.
        quantized: Some convolution, dense or recurrent op works in 8 bits; where there is none,
            some other op does, or 8-bit numbers occur and no op is floating.
        hybrid: Weights have 8 bits where activations are floating.
        dynamic: Ops (or ``"input"``) whose output has an open size, the batch not counted.
        open_batch: The batch of an input is open.
        computed_sizes: Ops whose result has a size that is computed at run time, with their kind.
        operators: Builtin operators that the file names, used or not, with their versions.
        custom_operators: Names of the others.
        compiled: The file is the output of the Edge TPU compiler.
        left_out: What belongs to the file and not to the graph, in words.
    """

    path: str
    graph: OpGraph
    data_types: tuple[tuple[str, str], ...]
    unsupported: tuple[tuple[str, str], ...]
    quantized: bool
    hybrid: bool
    dynamic: tuple[str, ...]
    open_batch: bool
    computed_sizes: tuple[tuple[str, str], ...]
    operators: tuple[tuple[str, int], ...]
    custom_operators: tuple[str, ...]
    compiled: bool
    left_out: tuple[str, ...]

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates; None where the graph is not all of it."""
        return None if self.left_out else self.graph.macs

    def check_quantized(self) -> None:
        """Check that there is something in this file for an Edge TPU compiler.

        A floating input or output, or a few floating ops, are no obstacle: they are the host's.
        What else a compiler refuses, :func:`hw.families.edge_tpu.acceptance.check_accepted` knows.

        Raises:
            TfliteError: It is compiled already, has open sizes, or nothing in it has 8 bits.
        """
        if self.compiled:
            raise TfliteError(
                f"{self.path}: must be the model before compilation, but got the output of "
                "edgetpu_compiler. Give the .tflite it was made of."
            )
        if self.dynamic:
            raise TfliteError(
                f"{self.path}: sizes must be fixed to run on an Edge TPU, but got an open one in "
                f"{self.dynamic[0]}. Convert with an input of fixed sizes and a batch of 1."
            )
        if self.quantized:
            return
        if self.hybrid:
            raise TfliteError(
                f"{self.path}: activations must be int8 or uint8 to run on an Edge TPU, but got 8 "
                "bits in weights only (dynamic-range quantization). Convert with a representative "
                "data set, which gives full integer quantization (int8)."
            )
        heavy = {op.name for op in self.graph.ops if op.kind in HEAVY}
        types = sorted({kind for name, kind in self.data_types if name in heavy or not heavy})
        raise TfliteError(
            f"{self.path}: ops must work on int8 or uint8 to run on an Edge TPU, but got "
            f"{', '.join(types)} everywhere. Convert with full integer quantization (int8)."
        )
