"""Logs in the form of the compilers 2 to 16; numbers and names are made up."""

import dataclasses

import pytest

from hw.families.edge_tpu import mapping
from hw.families.edge_tpu.compiler_log import MAPPED, OpRow, parse_log
from hw.tflite import reasons

MIB = 1 << 20

COMPILER_16 = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 812 ms.

Input model: nets/toy_int8.tflite
Input size: 4.25MiB
Output model: out/toy_int8_edgetpu.tflite
Output size: 4.75MiB
On-chip memory used for caching model parameters: 3.33MiB
On-chip memory remaining for caching model parameters: 1.75KiB
Off-chip memory used for streaming uncached model parameters: 0.50MiB
Number of Edge TPU subgraphs: 1
Total number of operations: 60
Operation log: out/toy_int8_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage \
of the model will instead run on the CPU, which is slower. If possible, consider updating your \
model to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.
Number of operations that will run on Edge TPU: 52
Number of operations that will run on CPU: 8

Operator                       Count      Status

CONV_2D                        50         Mapped to Edge TPU
QUANTIZE                       2          Mapped to Edge TPU
QUANTIZE                       1          Operation is otherwise supported, but not mapped due \
to some unspecified limitation
UNIDIRECTIONAL_SEQUENCE_LSTM   1          More than one subgraph is not supported
DEQUANTIZE                     2          Operation is working on an unsupported data type
CUSTOM                         1          Operation not supported
RESIZE_NEAREST_NEIGHBOR        1          Operation version not supported
TRANSPOSE                      2          Tensor has unsupported rank (up to 3 innermost \
dimensions mapped)
Compilation child process completed within timeout period.
Compilation succeeded!
"""

COMPILER_15 = """\
Edge TPU Compiler version 15.0.340273435

Model compiled successfully in 17 ms.

Input model: dense.tflite
Input size: 961.05KiB
Output model: dense_edgetpu.tflite
Output size: 1.02MiB
On-chip memory used for caching model parameters: 1.00MiB
On-chip memory remaining for caching model parameters: 6.89MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 1
Operation log: dense_edgetpu.log

Operator                       Count      Status

FULLY_CONNECTED                1          Mapped to Edge TPU
"""

COMPILER_2 = """\
Edge TPU Compiler version 2.0.267685300

Model compiled successfully in 231 ms.

On-chip memory available for caching model parameters: 2.00MiB
On-chip memory used for caching model parameters: 512.00KiB
Off-chip memory used for streaming uncached model parameters: 0.00B
"""


def test_a_log_of_compiler_16_is_read_to_the_last_field():
    log = parse_log(COMPILER_16)
    fields = dataclasses.asdict(log) | {"rows": None}
    assert fields == {
        "version": "16.0.384591198",
        "error": None,
        "compile_ms": 812,
        "input_model": "nets/toy_int8.tflite",
        "input_bytes": 4.25 * MIB,
        "output_model": "out/toy_int8_edgetpu.tflite",
        "output_bytes": 4.75 * MIB,
        "cached_bytes": 3_491_758,  # derived: 3.33 * 2 ** 20, rounded
        "cache_left_bytes": 1792,
        "streamed_bytes": MIB // 2,
        "subgraphs": 1,
        "operations": 60,
        "rows": None,
    }
    assert sum(row.count for row in log.rows) == log.operations
    assert log.rows[0] == OpRow("CONV_2D", 50, MAPPED)
    assert log.rows[-1] == OpRow("TRANSPOSE", 2, mapping.RANK)


def test_every_status_that_costs_are_told_with_is_one_of_the_compiler():
    statuses = {row.status for row in parse_log(COMPILER_16).rows if not row.mapped}
    assert {
        reasons.NOT_SUPPORTED,
        mapping.SECOND_SUBGRAPH,
        reasons.DATA_TYPE,
        reasons.UNSPECIFIED,
        mapping.RANK,
    } < statuses


def test_a_log_of_compiler_15_where_all_is_mapped():
    log = parse_log(COMPILER_15)
    assert (log.version, log.error, log.compile_ms) == ("15.0.340273435", None, 17)
    assert (log.input_bytes, log.streamed_bytes) == (round(961.05 * 1024), 0)
    assert log.rows == (OpRow("FULLY_CONNECTED", 1, MAPPED),)


def test_old_compilers_tell_the_whole_cache_and_not_what_is_left():
    log = parse_log(COMPILER_2)
    assert (log.cached_bytes, log.cache_left_bytes) == (MIB // 2, 3 * MIB // 2)
    assert (log.rows, log.operations, log.subgraphs) == ((), None, None)


def test_windows_line_ends_and_indentation_change_nothing():
    changed = "\r\n".join(f"  {line}" for line in COMPILER_16.splitlines())
    assert parse_log(changed) == parse_log(COMPILER_16)


def test_of_several_attempts_the_last_counts():
    failed = (
        "Searching for valid delegate with step 10\nTry to compile segment with 70 ops\n"
        "Compilation child process completed within timeout period.\nCompilation failed! \n"
    )
    first = COMPILER_16.replace("3.33MiB", "1.00MiB").replace("CONV_2D", "ADD")
    log = parse_log(failed + first + COMPILER_16)
    assert log == parse_log(COMPILER_16)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "Edge TPU Compiler version 14.1.317412892\n\nInternal compiler error. Aborting! \n",
            "Internal compiler error",
        ),
        (
            "Edge TPU Compiler version 15.0.340273435\nInvalid model: toy.tflite\n"
            "Model not quantized\n",
            "Model not quantized",
        ),
        (
            "Edge TPU Compiler version 15.0.340273435\n"
            "ERROR: Didn't find op for builtin opcode 'REVERSE_V2' version '3'\n\n"
            "ERROR: Registration failed.\n\nInvalid model: a.tflite\nModel could not be parsed\n",
            "Didn't find op for builtin opcode 'REVERSE_V2' version '3'; Registration failed; "
            "Model could not be parsed",
        ),
        (
            "Edge TPU Compiler version 16.0.384591198\n"
            "Started a compilation timeout timer of 180 seconds.\n"
            "Compilation timeout. This is usually caused by large activations.\n"
            "Compilation failed! \n",
            "Compilation timeout. This is usually caused by large activations",
        ),
        (
            "Edge TPU Compiler version 16.0.384591198\n"
            "Started a compilation timeout timer of 180 seconds.\n"
            "ERROR: Encountered unresolved custom op: Atan.\n"
            "Compilation failed: Model failed in Tflite interpreter. Please look at it.\n"
            "Compilation child process completed within timeout period.\nCompilation failed! \n",
            "Encountered unresolved custom op: Atan; "
            "Compilation failed: Model failed in Tflite interpreter. Please look at it",
        ),
        (
            "Edge TPU Compiler version 16.0.384591198\n"
            "libc++abi: terminating with uncaught exception of type std::out_of_range: vector\n"
            "Compilation child process completed within timeout period.\nCompilation failed! \n",
            "terminating with uncaught exception of type std::out_of_range: vector",
        ),
        (
            "Edge TPU Compiler version 16.0.384591198\nedgetpu_compiler: line 3:  1531 "
            'Segmentation fault      (core dumped) ${d}/edgetpu_compiler "$@"\n',
            "Segmentation fault",
        ),
        (
            "Edge TPU Compiler version 16.0.384591198\n"
            "Compilation child process completed within timeout period.\nCompilation failed! \n",
            "Compilation failed",
        ),
        ("Edge TPU Compiler version 16.0.384591198\n", "an empty log"),
        ("", "an empty log"),
    ],
)
def test_failures_are_told_in_the_words_of_the_log(text, error):
    log = parse_log(text)
    assert log.error == error
    assert (log.compile_ms, log.cached_bytes, log.rows) == (None, None, ())


@pytest.mark.parametrize("keep", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_log_that_breaks_off_is_read_as_far_as_it_goes(keep):
    log = parse_log(COMPILER_16[: int(len(COMPILER_16) * keep)])
    assert log.version == "16.0.384591198"
    assert log.streamed_bytes in (None, MIB // 2)
