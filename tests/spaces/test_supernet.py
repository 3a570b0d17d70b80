"""The weight-sharing network is, for each architecture, the network that it would be alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spaces.blocks import BLOCK_OPS, IBN_DW, IBN_FUSED, IBN_GROUPED, SKIP
from spaces.heads import classification
from spaces.ibn import IbnSpace, largest, smallest
from spaces.space import Architecture, SpaceError, load_space, prune, sample

CLASSES, SIDE = 5, 16

pytestmark = pytest.mark.usefixtures("tensorflow")


def _first_stages(name: str, stages: int) -> IbnSpace:
    """The beginning of a space: the rest of a big one is more of the same, and slow."""
    space = load_space(name).for_input((1, SIDE, SIDE, 3))
    assert isinstance(space, IbnSpace)
    return dataclasses.replace(space, stages=space.stages[:stages], top_widths=(64, 96))


SPACES: dict[str, Callable[[], IbnSpace]] = {
    "mobilenet_edgetpu_v2_small": lambda: load_space("mobilenet_edgetpu_v2_small").for_input(  # type: ignore[dict-item,return-value]
        (1, SIDE, SIDE, 3)
    ),
    "mobilenet_edgetpu_v2": lambda: _first_stages("mobilenet_edgetpu_v2", 2),
    "mobilenet_v2_small": lambda: _first_stages("mobilenet_v2_small", 3),
}


def _trained(space: IbnSpace) -> Any:
    """A supernet whose every weight matters, as after training: new ones begin as identities."""
    from spaces.supernet import Supernet

    net = Supernet(space, CLASSES, seed=0)
    rng = np.random.default_rng(1)
    for name, variable in net.parameters.items():
        if name.endswith(("gamma", "beta", "bias")):
            centre = float(name.endswith("gamma"))
            variable.assign(rng.normal(centre, 0.3, variable.shape).astype(np.float32))
    return net


_NETS: dict[str, Any] = {}


def _net(name: str) -> Any:
    if name not in _NETS:
        _NETS[name] = _trained(SPACES[name]())
    return _NETS[name]


@pytest.fixture
def small() -> Any:
    return _net("mobilenet_edgetpu_v2_small")


def _images(count: int = 24, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, SIDE, SIDE, 3)).astype(np.float32)


def _samples(space: IbnSpace, count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [sample(space, rng) for _ in range(count)]


def _alone(net: Any, point: Architecture, statistics: Any) -> Any:
    """The Keras model of an architecture with the weights that the supernet holds for it."""
    from spaces.keras_model import build_model, get_weights, set_weights

    model = build_model(classification(net.space.lower(point), CLASSES), output="logits")
    extracted = net.extract(point, statistics)
    assert set(extracted) == set(get_weights(model))
    set_weights(model, extracted)
    return model


@pytest.mark.parametrize("name", SPACES)
def test_supernet_computes_what_each_architecture_computes_alone(name: str) -> None:
    net = _net(name)
    for point in (largest(net.space), smallest(net.space), *_samples(net.space, 4)):
        statistics = net.recalibrate(point, _images())
        together = net.predict_all(point, _images(8, seed=1), statistics)
        alone = _alone(net, point, statistics)(_images(8, seed=1), training=False).numpy()
        assert np.ptp(alone) > 0.1  # not all the same by chance
        np.testing.assert_allclose(together, alone, atol=1e-4, rtol=1e-4)


def test_blocks_of_expansion_1_and_of_more_are_among_the_cases() -> None:
    space = SPACES["mobilenet_edgetpu_v2"]()
    points = [largest(space), smallest(space), *_samples(space, 4)]
    assert {one.values["stage1/block0/expansion"] for one in points} >= {1, 4}


def test_no_architecture_is_traced_again(small: Any) -> None:
    for point in _samples(small.space, 6, seed=3):
        statistics = small.recalibrate(point, _images(10), batch_size=4)
        small.predict_all(point, _images(7), statistics, batch_size=3)
    assert small.calibrate.experimental_get_tracing_count() == 1
    assert small.predict.experimental_get_tracing_count() == 1


def test_gradients_reach_what_an_architecture_uses_and_nothing_else(tensorflow: Any) -> None:
    from spaces.supernet import encode

    net = _trained(_first_stages("mobilenet_edgetpu_v2_small", 1))
    names, variables = list(net.parameters), list(net.parameters.values())

    @tensorflow.function  # type: ignore[untyped-decorator]
    def gradients(encoded: Any, images: Any, direction: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            logits, _ = net.logits(encoded, images)
            loss = tensorflow.reduce_sum(logits * direction)
        return tape.gradient(loss, variables)

    direction = np.random.default_rng(0).normal(size=(6, CLASSES)).astype(np.float32)
    stem = {"stem/channels": 16, "stage1/channels": 16}
    points = [
        prune(net.space, {**stem, "*/op": op, "stage1/block1/op": more})
        for op, more in zip((*BLOCK_OPS[1:], IBN_DW), (*BLOCK_OPS[1:], SKIP), strict=True)
    ]
    for point in points:
        encoded = tensorflow.constant(encode(net.space, point))
        found = gradients(encoded, _images(6), direction)
        reached = {n for n, g in zip(names, found, strict=True) if np.any(g.numpy() != 0)}
        assert reached == net.used_by(point)
    assert gradients.experimental_get_tracing_count() == 1


def test_gradients_stay_inside_the_slice_of_an_architecture(small: Any, tensorflow: Any) -> None:
    from spaces.supernet import encode

    point = prune(
        small.space,
        {"*/op": IBN_DW, "*/kernel": 3, "*/expansion": 2, "stem/channels": 16},
    )
    kernel = small.parameters["stage1/block0/ibn_dw/depthwise/kernel"]
    with tensorflow.GradientTape() as tape:
        logits, _ = small.logits(tensorflow.constant(encode(small.space, point)), _images(4))
        loss = tensorflow.reduce_sum(logits[:, 0])
    gradient = tape.gradient(loss, kernel).numpy()[..., 0]
    # derived: the middle 3 x 3 of 5 x 5, and 16 * 2 of 16 * 4 channels
    inside = np.zeros_like(gradient, bool)
    inside[1:4, 1:4, :32] = True
    assert gradient.shape == (5, 5, 64)
    assert np.all(gradient[~inside] == 0)
    assert np.all(gradient[inside] != 0)


def test_statistics_of_another_architecture_give_other_answers(small: Any) -> None:
    one, other = _samples(small.space, 2, seed=7)
    images = _images(32, seed=2)
    right = small.predict_all(one, images, small.recalibrate(one, _images(32)))
    again = small.predict_all(one, images, small.recalibrate(one, _images(32, seed=9)))
    wrong = small.predict_all(one, images, small.recalibrate(other, _images(32)))
    untrained = np.stack([np.zeros(1), np.ones(1)]).astype(np.float32)[:, :, None]
    shape = (2, len(small.norms), small.max_channels)
    never = small.predict_all(one, images, np.broadcast_to(untrained, shape).copy())
    noise = np.abs(again - right).mean()  # what other calibration images change
    assert np.abs(wrong - right).mean() > 3 * noise
    assert np.abs(never - right).mean() > 3 * noise


def test_statistics_are_averaged_over_whole_batches(small: Any, tensorflow: Any) -> None:
    from spaces.supernet import encode

    point, images = smallest(small.space), _images(11)
    encoded = tensorflow.constant(encode(small.space, point))
    # derived: 11 images in batches of 4 are two batches, and three images that are dropped
    expected = (small.calibrate(encoded, images[:4]) + small.calibrate(encoded, images[4:8])) / 2
    found = small.recalibrate(point, images, batch_size=4)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6, atol=1e-7)


def test_encoding_holds_values_not_indices(small: Any) -> None:
    from spaces.supernet import encode

    decisions: dict[str, int | str] = {
        "stem/channels": 16,
        "top/channels": 256,
        "stage1/channels": 16,
        "stage2/channels": 48,
        "stage2/block0/op": IBN_GROUPED,
        "stage2/block0/expansion": 4,
        "stage2/block0/channels_per_group": 32,
        "stage2/block1/op": IBN_DW,
        "stage2/block1/kernel": 5,
        "stage2/block2/op": SKIP,
    }
    encoded = encode(small.space, prune(small.space, decisions))
    # derived: op, kernel, expansion, channels per group, output channels, 1 where it has none
    grouped, depthwise = BLOCK_OPS.index(IBN_GROUPED), BLOCK_OPS.index(IBN_DW)
    assert encoded.shape == (1 + 8 + 1, 5)
    assert encoded.dtype == np.int32
    assert encoded[0].tolist() == [0, 3, 1, 1, 16]
    assert encoded[3].tolist() == [grouped, 3, 4, 32, 48]
    assert encoded[4].tolist() == [depthwise, 5, 2, 1, 48]
    assert encoded[5].tolist() == [BLOCK_OPS.index(SKIP), 1, 1, 1, 48]
    assert encoded[9].tolist() == [0, 1, 1, 1, 256]


def test_new_blocks_that_may_be_skipped_are_the_identity() -> None:
    from spaces.supernet import Supernet

    space = SPACES["mobilenet_v2_small"]()
    net = Supernet(space, CLASSES, seed=0)
    shallow = smallest(space)
    deep = prune(
        space,
        {
            **{name: value for name, value in shallow.decisions if not name.endswith("/op")},
            "*/op": IBN_DW,
        },
    )
    assert len(deep.decisions) > len(shallow.decisions)
    answers = [
        net.predict_all(one, _images(4), net.recalibrate(one, _images()))
        for one in (shallow, deep)
    ]
    np.testing.assert_allclose(*answers, rtol=1e-5, atol=1e-6)


def test_weights_depend_on_the_seed_alone_and_can_be_restored() -> None:
    from spaces.supernet import Supernet

    space = SPACES["mobilenet_v2_small"]()
    one, same, other = (Supernet(space, CLASSES, seed) for seed in (1, 1, 2))
    for name, value in one.state().items():
        np.testing.assert_array_equal(value, same.state()[name])
    kernels = [name for name in one.parameters if name.endswith("kernel")]
    assert not any(np.array_equal(one.state()[n], other.state()[n]) for n in kernels)
    other.restore(one.state())
    assert all(np.array_equal(value, other.state()[n]) for n, value in one.state().items())


def _with_block(**changes: Any) -> IbnSpace:
    space = SPACES["mobilenet_edgetpu_v2_small"]()
    stage = space.stages[0]
    block = dataclasses.replace(stage.blocks[0], **changes)
    changed = dataclasses.replace(stage, blocks=(block, *stage.blocks[1:]))
    return dataclasses.replace(space, stages=(changed, *space.stages[1:]))


@pytest.mark.parametrize(
    ("space", "feature"),
    [
        (lambda: load_space("efficientnet_edgetpu"), "blocks that expand their output channels"),
        (
            lambda: _with_block(ops=(IBN_FUSED,), expansions=(1, 2)),
            "a strided ibn_fused block of expansion 1",
        ),
        (
            lambda: dataclasses.replace(_with_block(), top_widths=(0, 64)),
            "networks without a top convolution",
        ),
        (
            lambda: dataclasses.replace(_with_block(), activation="none"),
            "no activation",
        ),
    ],
    ids=["expands_output", "strided_projection", "no_top", "no_activation"],
)
def test_spaces_whose_weights_cannot_be_shared_are_refused(
    space: Callable[[], IbnSpace], feature: str
) -> None:
    from spaces.supernet import Supernet

    wanted = space()
    with pytest.raises(
        SpaceError,
        match=f"{wanted.name}: a space to be searched .* must not have {feature}, but got one",
    ):
        Supernet(wanted, CLASSES, seed=0)
