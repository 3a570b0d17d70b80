"""Ten thousand damaged files: each is read or refused in one line, in little time and memory."""

import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.families.edge_tpu.compiled_package import parse_compiled
from hw.tflite.model import TfliteError
from hw.tflite.reader import parse_tflite

SHARED = Path(__file__).parents[2].parent / "shared" / "tflite"
LARGEST_SEED = 16_384
SECONDS, PEAK_BYTES = 0.5, 8 << 20
ODD_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def flip(data, _, rng):
    for _ in range(rng.integers(1, 9)):
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return data


def truncate(data, _, rng):
    return data[: rng.integers(len(data))]


def overwrite(data, _, rng):
    """A random or an odd number over one to four aligned ones: lengths, offsets, sizes."""
    for _ in range(rng.integers(1, 5)):
        position = 4 * rng.integers(len(data) // 4)
        odd = ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))]
        number = odd if rng.integers(2) else rng.integers(1 << 32)
        data[position : position + 4] = struct.pack("<I", number)
    return data


def move(data, _, rng):
    """A small number instead of another: offsets then point to other tables, or to themselves."""
    position = 4 * rng.integers(len(data) // 4)
    data[position : position + 4] = struct.pack("<I", rng.integers(len(data)))
    return data


def splice(data, other, rng):
    start, length = rng.integers(len(other)), rng.integers(1, 257)
    position = rng.integers(len(data))
    chunk = other[start : start + length]
    if rng.integers(2):
        return data[:position] + chunk + data[position:]
    data[position : position + len(chunk)] = chunk
    return data


def mutations(seeds, count, seed):
    """Damaged files, the same for the same seed."""
    rng = np.random.default_rng(seed)
    ways = (flip, truncate, overwrite, move, splice)
    for number in range(count):
        data, other = (bytearray(seeds[rng.integers(len(seeds))]) for _ in range(2))
        yield bytes(ways[number % len(ways)](data, other, rng))


def refused(read, files):
    """How many files are refused; each is read within the limits."""
    count = 0
    tracemalloc.start()
    try:
        for data in files:
            tracemalloc.reset_peak()
            before, start = tracemalloc.get_traced_memory()[0], time.process_time()
            try:
                read(data)
            except TfliteError as error:
                assert "\n" not in str(error) and len(str(error)) < 1_000
                count += 1
            assert time.process_time() - start < SECONDS
            assert tracemalloc.get_traced_memory()[1] - before < PEAK_BYTES
    finally:
        tracemalloc.stop()
    return count


def small_models(written, ending):
    """Seeds: files written here, and real ones where they are at hand."""
    real = sorted(SHARED.glob("*.tflite")) if SHARED.is_dir() else []
    whole = [path.read_bytes() for path in real if path.stem.endswith("_edgetpu") == ending]
    return [*written, *(data for data in whole if len(data) <= LARGEST_SEED)]


@pytest.fixture(scope="session")
def seeds(conv_model, model_bytes):
    options = (1, {1: ("i", 1), 2: ("i", 1)})
    tensors = [
        ("x", [1, 8, 8, 4], 9, False),
        ("w", [1, 3, 3, 4], 9, True),
        ("d", [1, 8, 8, 4], 9, False),
        ("axis", [], 2, True),
        ("a", [1, 8, 8, 2], 9, False),
        ("b", [1, 8, 8, 2], 9, False),
        ("v", [4, 1, 1, 2], 9, True),
        ("y", [1, 8, 8, 4], 9, False),
        ("z", [1, 8, 8, 4], 9, False),
    ]
    ops = [
        (4, [0, 1], [2], (2, options[1])),
        (49, [3, 2], [4, 5], None),
        (3, [4, 6], [7], options),
        (0, [7, 2], [8], (11, {0: ("b", 1)})),
    ]
    return small_models([conv_model(), model_bytes(tensors, ops)], False)


def test_damaged_models_are_read_or_refused(seeds):
    count = refused(lambda data: parse_tflite(data, "m"), mutations(seeds, 5_000, seed=0))
    assert 1_500 < count < 5_000


def test_what_is_read_of_a_damaged_model_can_be_costed(seeds):
    cost_model, costed = load_cost_model("analytic", load_device("coral_usb3")), 0
    for data in mutations(seeds, 1_000, seed=1):
        try:
            model = parse_tflite(data, "m")
            model.check_quantized()
        except TfliteError:
            continue
        report = cost_model.estimate(model.graph, dict(model.unsupported))
        assert 0 <= report.latency_ms < float("inf")
        costed += 1
    assert costed > 100


def test_damaged_packages_are_read_or_refused(executable, package_options, compiled_bytes):
    layers = [("x", 192, 8, 8, 3), ("y", 16, 1, 1, 10)]
    main = executable(2, 64, (100, 20), 832, (16, "q", 1_000), layers)
    options = package_options([main, executable(1, 640, (48,))])
    written = [compiled_bytes(options), compiled_bytes(options, options, host=1)]
    files = mutations(small_models(written, True), 3_000, seed=2)
    count = refused(lambda data: parse_compiled(data, "m"), files)
    assert 500 < count < 3_000
