"""Whether a compiler takes a file at all: what it refuses has no latency.

An op that it does not support stays on the host. But it reads a file with a runtime of its own
time first, and takes the graph only if all sizes are known then: an operator of a newer version,
one of TensorFlow itself, or one size that is computed at run time, and there is no compiled file.
What each compiler refuses stands in its file of ``compilers/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hw.families.edge_tpu.mapping import rules_of
from hw.tflite.model import TfliteError, TfliteModel

MOST = 3
"""Operators that a message names."""
NATIVE_VERSION = 6
"""Of a CONV_2D with groups, as converters write it."""


def check_accepted(model: TfliteModel, compiler: str, native: bool = False) -> None:
    """Check that the compiler of that name makes a compiled file of ``model``.

    Args:
        model: A file.
        compiler: Name of the rules.
        native: As if it took convolutions with groups, which are of a version of their own.

    Raises:
        TfliteError: It does not; the message says why, and the cure.
        MappingError: There is no such compiler.
    """
    model.check_quantized()
    rules, called = rules_of(compiler), " ".join(compiler.rpartition("_")[::2]).strip()
    known = {"CONV_2D": NATIVE_VERSION} if native else {}
    if unknown := _unknown(model, {**rules.versions, **known} if rules.versions else {}):
        raise TfliteError(
            f"{model.path}: operators must be known to {called}, or it refuses the whole file, "
            f"but got {_some(unknown)}. Convert with {rules.converter} or older, or replace the "
            "layers that need them."
        )
    foreign = tuple(rules.refused_custom_ops)
    if refused := [name for name in model.custom_operators if name.startswith(foreign)]:
        raise TfliteError(
            f"{model.path}: operators must be of TensorFlow Lite, or {called} refuses the whole "
            f"file, but got {_some(refused)}. Replace the layers that need them, and convert "
            "without SELECT_TF_OPS."
        )
    if model.computed_sizes and rules.computed_sizes == "refused":
        op, kind = model.computed_sizes[0]
        cure = "Set batch_size=1 in the input layer, and" if model.open_batch else "Fix it, and"
        raise TfliteError(
            f"{model.path}: sizes must be fixed to run on an Edge TPU, but got one that is "
            f"computed at run time in {op} ({kind}), and the whole file is refused. {cure} "
            "convert again."
        )


def _unknown(model: TfliteModel, versions: Mapping[str, int]) -> list[str]:
    """Operators that the compiler's reader does not know; no versions: it knows all."""
    found = []
    for name, version in model.operators if versions else ():
        known = versions.get(name, 0)
        if version > known:
            found.append(f"{name} version {version} (at most {known})" if known else name)
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST} more" * (len(names) > MOST)
    return f"{', '.join(names[:MOST])}{more}"
