"""A model and what the compiler made of it: ``NAME.tflite`` and ``NAME_edgetpu.tflite``."""

from __future__ import annotations

from pathlib import Path

from spaces.graph import Op, OpGraph

SUFFIX = "_edgetpu"


def compiled_path(original: Path, folder: Path | None = None) -> Path:
    """Where the compiler writes, beside the model or in ``folder``.

    >>> compiled_path(Path("nets/a.tflite")).as_posix()
    'nets/a_edgetpu.tflite'
    """
    return (folder or original.parent) / f"{original.stem}{SUFFIX}.tflite"


def original_path(compiled: Path) -> Path | None:
    """The model beside its compiled file; None if it is not there."""
    path = compiled.with_name(f"{compiled.stem.removesuffix(SUFFIX)}.tflite")
    return path if path != compiled and path.is_file() else None


def left_on_host(original: OpGraph, compiled: OpGraph) -> tuple[Op, ...]:
    """Ops that the compiler left as they were, in order of execution.

    The op that stands for the Edge TPU has the name of an original one, but not its kind.
    """
    there = {(op.name, op.kind) for op in compiled.ops}
    return tuple(op for op in original.ops if (op.name, op.kind) in there)
