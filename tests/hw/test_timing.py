"""The stopwatch on an interpreter that takes as long as it is told."""

import numpy as np
import pytest

from hw.measuring.timing import (
    ROUNDS,
    WARM_UP_RUNS,
    WARM_UP_S,
    Timing,
    TimingError,
    random_input,
    time_inferences,
)


class Fake:
    """An interpreter and its clock: the first inference takes 5 s, each later one ``warm_s``."""

    def __init__(self, warm_s, types=("uint8",)):
        self.now = 0.0
        self.warm_s = warm_s
        self.types = types
        self.log = []
        self.inputs = []

    def allocate_tensors(self):
        self.log.append("allocate")

    def get_input_details(self):
        return [
            {"index": 10 + number, "shape": np.array([1, 4]), "dtype": np.dtype(name).type}
            for number, name in enumerate(self.types)
        ]

    def set_tensor(self, tensor_index, value):
        self.log.append("set")
        self.inputs.append((tensor_index, value))

    def invoke(self):
        first = "invoke" not in self.log
        self.now += 5.0 if first else self.warm_s
        self.log.append("invoke")

    def time(self, runs, seed=0):
        return time_inferences(self, np.random.default_rng(seed), runs, clock=lambda: self.now)


def test_the_first_inference_stands_apart_from_the_warm_ones():
    timing = Fake(warm_s=0.25).time(runs=30)
    assert timing.first_ms == 5000
    assert timing.runs_ms == (250.0,) * 30
    assert (timing.median_ms, timing.interval_ms) == (250, (250, 250))


@pytest.mark.parametrize(("warm_s", "warm_up"), [(1.0, WARM_UP_RUNS), (0.0078125, 26)])
def test_warm_up_lasts_some_runs_and_some_time(warm_s, warm_up):
    # Derived: 26 * 0.0078125 s is the first multiple that reaches 0.2 s.
    assert WARM_UP_S == 0.2
    fake = Fake(warm_s)
    fake.time(runs=10)
    # One first, the warm-up, and in each round one untimed on the new input.
    assert fake.log.count("invoke") == 1 + warm_up + ROUNDS + 10


def test_each_round_has_an_input_of_its_own():
    fake = Fake(warm_s=0.1, types=("uint8", "float32"))
    fake.time(runs=7)
    assert fake.log[0] == "allocate"
    assert [index for index, _ in fake.inputs] == [10, 11] * (1 + ROUNDS)
    assert len({value.tobytes() for index, value in fake.inputs if index == 11}) == 1 + ROUNDS


def test_the_same_seed_makes_the_same_inputs():
    first, second, other = (Fake(0.1) for _ in range(3))
    first.time(5, seed=1), second.time(5, seed=1), other.time(5, seed=2)
    bytes_of = [[value.tobytes() for _, value in fake.inputs] for fake in (first, second, other)]
    assert bytes_of[0] == bytes_of[1] != bytes_of[2]


def test_few_runs_have_no_interval():
    assert Timing(1.0, (1.0,) * 19).interval_ms is None
    low, high = Timing(1.0, tuple(float(n) for n in range(101))).interval_ms
    assert (low, high) == (5, 95)  # derived: quantiles of 0 to 100


def test_one_run_is_enough():
    assert Fake(0.5).time(runs=1).runs_ms == (500.0,)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("int8", -128, 127),
        ("uint8", 0, 255),
        ("int16", -32768, 32767),
        ("int32", 0, 1),
        ("int64", 0, 1),
        ("bool", 0, 1),
        ("float32", 0, 1),
        ("float16", 0, 1),
    ],
)
def test_inputs_cover_the_range_of_their_type(name, low, high):
    value = random_input((1, 300_000), np.dtype(name), np.random.default_rng(0))
    assert (value.shape, value.dtype.name) == ((1, 300_000), name)
    exact = value.astype(np.float64)
    assert (exact.min(), exact.max()) == pytest.approx((low, high), abs=0.01)


def test_text_cannot_be_made_up():
    with pytest.raises(TimingError, match=r"must be numbers or booleans, but got one of type \|S"):
        random_input((1,), np.dtype(np.bytes_), np.random.default_rng(0))
