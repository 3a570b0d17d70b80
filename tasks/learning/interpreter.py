"""A ``.tflite`` file at work in LiteRT: how finalists are scored, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.graph import OpGraph
from tasks.learning.inputs import inputs_in_batches
from tasks.learning.protocols import Outputs, Problem


def predict(
    tflite: bytes | Path,
    inputs: Mapping[str, NDArray[Any]],
    outputs: Sequence[str],
    threads: int = 1,
) -> Outputs:
    """The named outputs [n, ...] of a file for inputs [n, ...] by name, one inference a sample.

    Integer models are fed and read by their own scales and zero points, as a person's program
    would; outputs without a scale (labels) are given as they are.
    """
    return predict_batches(tflite, [inputs], outputs, threads)


def predict_batches(
    tflite: bytes | Path,
    batches: Iterable[Mapping[str, NDArray[Any]]],
    outputs: Sequence[str],
    threads: int = 1,
) -> Outputs:
    """The same for inputs that are not all in memory at once.

    By LiteRT's own kernels, where XNNPACK's do not take the file: see :func:`runs_as_it_is`.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    content = tflite.read_bytes() if isinstance(tflite, Path) else tflite
    plain = {"experimental_op_resolver_type": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
    options = {} if runs_as_it_is(content) else plain
    loaded = Interpreter(model_content=content, num_threads=threads, **options)
    # The signature keeps the names that tensors lose on their way through the converter.
    network = loaded.get_signature_runner()
    sources, ends = network.get_input_details(), network.get_output_details()
    rows = []
    for inputs in batches:
        fed = {name: quantize(array, sources[name]) for name, array in inputs.items()}
        rows += [
            network(**{name: array[at : at + 1] for name, array in fed.items()})
            for at in range(len(next(iter(fed.values()))))
        ]
    return tuple(
        dequantize(np.concatenate([row[name] for row in rows]), ends[name]) for name in outputs
    )


def runs_as_it_is(tflite: bytes) -> bool:
    """Whether LiteRT runs a file as it is loaded by anybody, with XNNPACK's kernels.

    These refuse an op whose output is scaled more than 256 times as finely as its products. A
    layer that is zero for all samples that ranges were observed on has such an output.

    Source: XNNPACK's bounds of a requantization scale, src/subgraph/ and src/operators/.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        Interpreter(model_content=tflite).allocate_tensors()
    except RuntimeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a file: LiteRT's details by name, in the order of the file."""

    inputs: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Mapping[str, Any]]


def signature_of(tflite: bytes | Path) -> Signature:
    """The signature of a file that has one."""
    from ai_edge_litert.interpreter import Interpreter

    content = tflite.read_bytes() if isinstance(tflite, Path) else tflite
    interpreter = Interpreter(model_content=content)
    runner = interpreter.get_signature_runner()
    return Signature(
        _ordered(runner.get_input_details(), interpreter.get_input_details()),
        _ordered(runner.get_output_details(), interpreter.get_output_details()),
    )


def _ordered(named: Mapping[str, Any], ordered: Sequence[Any]) -> dict[str, Any]:
    names = {one["index"]: name for name, one in named.items()}
    return {names[one["index"]]: named[names[one["index"]]] for one in ordered}


def quantize(values: NDArray[Any], details: Any) -> NDArray[Any]:
    """Values as a model's input takes them: as they are, or int8 by its scale."""
    if details["dtype"] in (np.float32, np.int32):
        return np.ascontiguousarray(values, details["dtype"])
    scale, zero_point = details["quantization"]
    limits = np.iinfo(details["dtype"])
    steps = np.round(values / np.float32(scale)) + zero_point
    clipped: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(details["dtype"])
    return clipped


def dequantize(values: NDArray[Any], details: Any) -> NDArray[Any]:
    """What a model's output stands for."""
    scale, zero_point = details["quantization"]
    if not scale:
        return values
    real: NDArray[Any] = (values.astype(np.float32) - zero_point) * np.float32(scale)
    return real


def score_file(
    problem: Problem, tflite: bytes | Path, arrays: Any, graph: OpGraph
) -> dict[str, float]:
    """Metrics of an exported file on a split."""
    outputs = predict_batches(tflite, inputs_in_batches(problem, arrays, graph), problem.deployed)
    return problem.score(outputs, arrays, graph)
