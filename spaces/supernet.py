"""The weight-sharing network: every choice of a space in one traced function.

The architecture enters as integers, so no function is traced again for another architecture: a
``tf.switch_case`` picks the op of each block, and kernels, expansions, widths and groups are
slices of the largest weights. Batch statistics are always those of the batch at hand; before an
architecture is judged, its statistics are recalibrated on training images (:meth:`recalibrate`).

Source of the recipe: BigNAS (arXiv:2003.11142), sandwich rule and in-place distillation; slicing
after Once-for-All (arXiv:1908.09791), centre crop of kernels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf

from spaces import blocks
from spaces.ibn import (
    STEM_CHANNELS,
    STEM_KERNEL,
    TOP_CHANNELS,
    BlockChoices,
    IbnSpace,
    check_shareable,
)
from spaces.keras_model import BATCH_NORM_EPSILON, layer_name
from spaces.space import Architecture, Value

FloatArray = NDArray[np.float32]
Tensor = Any  # tensorflow ships no types for it
Statistics = NDArray[np.float32]
"""[2 (mean, variance), n_norms, max_channels]"""

OP, KERNEL, EXPANSION, PER_GROUP, CHANNELS = range(5)


def encode(space: IbnSpace, architecture: Architecture) -> NDArray[np.int32]:
    """An architecture as integers [1 + n_blocks + 1, 5]: stem, blocks, top.

    Columns: op (index into ``BLOCK_OPS``), kernel size, expansion, channels per group, output
    channels; values themselves, never indices of choices.
    """
    values = architecture.values
    rows: list[tuple[Value, ...]] = [(0, values[STEM_KERNEL], 1, 1, values[STEM_CHANNELS])]
    for number, stage in enumerate(space.stages, 1):
        width = values[f"stage{number}/channels"]
        for index in range(len(stage.blocks)):
            name = f"stage{number}/block{index}"
            op = blocks.BLOCK_OPS.index(str(values.get(f"{name}/op", blocks.SKIP)))
            parts = ("kernel", "expansion", "channels_per_group")
            rows.append((op, *(values.get(f"{name}/{part}", 1) for part in parts), width))
    rows.append((0, 1, 1, 1, values[TOP_CHANNELS]))
    return np.asarray(rows, np.int32)


@final
class Supernet(tf.Module):  # type: ignore[misc]
    """All architectures of a space, with a classification head, in shared weights.

    Attributes:
        space: The space, for inputs (1, H, W, C).
        classes: Number of classes.
        parameters: Variables by name, sorted.
        norms: Names of the batch normalisations, in the order of :data:`Statistics`.
    """

    def __init__(self, space: IbnSpace, classes: int, seed: int) -> None:
        """Initialise weights (He normal, variance 2 / fan-in) from ``seed``.

        Blocks that may be skipped begin as the identity (their last scale is zero, as in
        arXiv:1706.02677, section 5.1). Without it, random architectures stay at the level of
        guessing for hundreds of steps: each block sees inputs that no other step produced.

        Raises:
            SpaceError: The space has a feature that weights cannot be shared over.
        """
        super().__init__("supernet")
        check_shareable(space)
        self.space, self.classes = space, classes
        self.parameters: dict[str, tf.Variable] = {}
        self.norms: list[str] = []
        self._rng = np.random.default_rng(seed)
        self._places = [
            (f"stage{number}/block{index}", number, index, place)
            for number, stage in enumerate(space.stages, 1)
            for index, place in enumerate(stage.blocks)
        ]
        self._create()
        self.parameters = dict(sorted(self.parameters.items()))
        self.max_channels = max(v.shape[0] for n, v in self.parameters.items() if "gamma" in n)
        self._norm_index = {name: index for index, name in enumerate(self.norms)}
        # Signatures are fixed, so that nothing is ever traced twice.
        images = tf.TensorSpec([None, *space.input_shape[1:]], tf.float32)
        encoded = tf.TensorSpec([len(self._places) + 2, 5], tf.int32)
        statistics = tf.TensorSpec([2, len(self.norms), self.max_channels], tf.float32)
        self.calibrate = tf.function(self._calibrate, [encoded, images])
        self.predict = tf.function(self._predict, [encoded, images, statistics])

    # -- variables ------------------------------------------------------------------------------

    def _create(self) -> None:
        space = self.space
        stem = (max(space.stem_kernels),) * 2
        self._conv("stem", (*stem, space.input_shape[-1], max(space.stem_widths)))
        for name, number, index, place in self._places:
            self._create_place(name, number, index, place)
        last = max(space.stages[-1].widths)
        self._conv("top", (1, 1, last, max(space.top_widths)))
        bound = 1.0 / np.sqrt(max(space.top_widths))
        kernel = self._rng.uniform(-bound, bound, (max(space.top_widths), self.classes))
        self._variable("logits/kernel", kernel)
        self._variable("logits/bias", np.zeros(self.classes))

    def _create_place(self, name: str, number: int, index: int, place: BlockChoices) -> None:
        stages = self.space.stages
        before = stages[number - 2].widths if number > 1 else self.space.stem_widths
        inputs = max(stages[number - 1].widths if index else before)
        expanded, out = inputs * max(place.expansions), max(stages[number - 1].widths)
        for op in place.ops:
            if op == blocks.SKIP:
                continue
            side = max(place.kernels_of(op))
            path = f"{name}/{op}"
            per_group = max(place.channels_per_group, default=1)
            if op == blocks.IBN_FUSED:
                self._conv(f"{path}/expand", (side, side, inputs, expanded))
            elif op == blocks.IBN_FUSED_GROUPED:
                depth = per_group // min(place.expansions)
                self._conv(f"{path}/expand", (side, side, depth, expanded))
            else:
                self._conv(f"{path}/expand", (1, 1, inputs, expanded))
            if op == blocks.IBN_DW:
                self._conv(f"{path}/depthwise", (side, side, expanded, 1), fan_in=side * side)
            if op == blocks.IBN_GROUPED:
                self._conv(f"{path}/group_conv", (side, side, per_group, expanded))
            identity = index > 0 and place.strides == 1 and place.residual
            self._conv(f"{path}/project", (1, 1, expanded, out), scale=float(not identity))

    def _conv(
        self, name: str, shape: tuple[int, ...], fan_in: int | None = None, scale: float = 1.0
    ) -> None:
        fan = fan_in or int(np.prod(shape[:3]))
        self._variable(f"{name}/kernel", self._rng.normal(0.0, np.sqrt(2.0 / fan), shape))
        channels = shape[2] if fan_in else shape[3]
        self._variable(f"{name}/gamma", np.full(channels, scale))
        self._variable(f"{name}/beta", np.zeros(channels))
        self.norms.append(name)

    def _variable(self, name: str, value: NDArray[Any]) -> None:
        self.parameters[name] = tf.Variable(value, dtype=tf.float32, name=name)

    # -- forward --------------------------------------------------------------------------------

    def logits(
        self,
        encoded: Tensor,
        images: Tensor,
        statistics: Tensor | None = None,
        dropout: Tensor | float = 0.0,
        seed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits [batch, classes] and the batch's statistics (or the given ones).

        Args:
            encoded: From :func:`encode`, int32.
            images: [batch, H, W, C] float32 in [-1, 1].
            statistics: None: normalise with the batch's own.
            dropout: Rate before the dense layer; ``seed`` [2] int32 is needed for it.
            seed: Stateless seed of the dropout.
        """
        collected: dict[str, Tensor] = {}
        row = encoded[0]
        norm = _Norm(self, statistics)
        kernel = self._kernel("stem", row[KERNEL], images.shape[-1], row[CHANNELS])
        x = tf.nn.conv2d(images, kernel, self.space.stem_strides, "SAME")
        x = norm(x, "stem", collected, relu=True)
        in_channels = row[CHANNELS]
        for number, (name, _, index, place) in enumerate(self._places, 1):
            x = self._place(x, in_channels, encoded[number], name, index, place, norm, collected)
            in_channels = encoded[number][CHANNELS]
        row = encoded[-1]
        x = tf.nn.conv2d(x, self._kernel("top", 1, in_channels, row[CHANNELS]), 1, "SAME")
        x = norm(x, "top", collected, relu=True)
        features = tf.reduce_mean(x, [1, 2])
        if seed is not None:
            features = tf.nn.experimental.stateless_dropout(features, dropout, seed)
        weights = self.parameters["logits/kernel"][: row[CHANNELS]]
        logits = tf.ensure_shape(
            features @ weights + self.parameters["logits/bias"], [None, self.classes]
        )
        if statistics is not None:
            return logits, statistics
        return logits, tf.stack([collected[name] for name in self.norms], axis=1)

    def _place(
        self,
        x: Tensor,
        in_channels: Tensor,
        row: Tensor,
        name: str,
        index: int,
        place: BlockChoices,
        norm: _Norm,
        collected: dict[str, Tensor],
    ) -> Tensor:
        mine = [one for one in self.norms if one.startswith(f"{name}/")]

        def branch(op: str) -> Callable[[], list[Tensor]]:
            def build() -> list[Tensor]:
                found: dict[str, Tensor] = {}
                if op == blocks.SKIP:
                    y = x
                elif op not in place.ops:  # cannot be asked for; keeps the branches aligned
                    y = x
                else:
                    y = self._block(x, in_channels, row, f"{name}/{op}", op, place, norm, found)
                    y = self._residual(x, y, in_channels, row, index, place)
                empty = tf.zeros([2, self.max_channels])
                return [y, *(found.get(one, empty) for one in mine)]

            return build

        branches = [branch(op) for op in blocks.BLOCK_OPS]
        y, *statistics = tf.switch_case(row[OP], branches)
        collected.update(zip(mine, statistics, strict=True))
        y.set_shape([None, None, None, None])
        return y

    def _residual(
        self,
        x: Tensor,
        y: Tensor,
        in_channels: Tensor,
        row: Tensor,
        index: int,
        place: BlockChoices,
    ) -> Tensor:
        if place.strides != 1 or not place.residual:
            return y
        if index:
            return x + y
        return tf.cond(tf.equal(in_channels, row[CHANNELS]), lambda: x + y, lambda: y)

    def _block(
        self,
        x: Tensor,
        in_channels: Tensor,
        row: Tensor,
        path: str,
        op: str,
        place: BlockChoices,
        norm: _Norm,
        found: dict[str, Tensor],
    ) -> Tensor:
        expanded = in_channels * row[EXPANSION]
        spatial, strides = row[KERNEL], place.strides
        depth = in_channels
        if op == blocks.IBN_FUSED_GROUPED:
            depth = in_channels // (expanded // row[PER_GROUP])
        fused = op in (blocks.IBN_FUSED, blocks.IBN_FUSED_GROUPED)
        side, step = (spatial, strides) if fused else (1, 1)

        def expand() -> list[Tensor]:
            mine: dict[str, Tensor] = {}
            kernel = self._kernel(f"{path}/expand", side, depth, expanded)
            y = norm(tf.nn.conv2d(x, kernel, step, "SAME"), f"{path}/expand", mine, relu=True)
            return [y, mine.get(f"{path}/expand", empty)]

        empty = tf.zeros([2, self.max_channels])
        if 1 in place.expansions and op in (blocks.IBN_DW, blocks.IBN_FUSED):
            # Expansion 1 has no expanding convolution; see spaces.blocks.
            x, statistics = tf.cond(row[EXPANSION] > 1, expand, lambda: [x, empty])
        else:
            x, statistics = expand()
        found[f"{path}/expand"] = statistics
        if op == blocks.IBN_DW:
            kernel = self._crop(self.parameters[f"{path}/depthwise/kernel"], spatial)
            stride = [1, strides, strides, 1]
            x = tf.nn.depthwise_conv2d(x, kernel[:, :, :expanded], stride, "SAME")
            x = norm(x, f"{path}/depthwise", found, relu=True)
        if op == blocks.IBN_GROUPED:
            kernel = self._kernel(f"{path}/group_conv", spatial, row[PER_GROUP], expanded)
            x = tf.nn.conv2d(x, kernel, strides, "SAME")
            x = norm(x, f"{path}/group_conv", found, relu=True)
        kernel = self._kernel(f"{path}/project", 1, expanded, row[CHANNELS])
        return norm(tf.nn.conv2d(x, kernel, 1, "SAME"), f"{path}/project", found, relu=False)

    def _kernel(self, name: str, side: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
        return self._crop(self.parameters[f"{name}/kernel"], side)[:, :, :inputs, :outputs]

    def _crop(self, kernel: Tensor, side: Tensor) -> Tensor:
        largest = kernel.shape[0]
        if largest == 1:
            return kernel
        start = (largest - side) // 2
        return kernel[start : start + side, start : start + side]

    # -- what people call -----------------------------------------------------------------------

    def _calibrate(self, encoded: Tensor, images: Tensor) -> Tensor:
        return self.logits(encoded, images)[1]

    def _predict(self, encoded: Tensor, images: Tensor, statistics: Tensor) -> Tensor:
        return self.logits(encoded, images, statistics)[0]

    def recalibrate(
        self, architecture: Architecture, images: FloatArray, batch_size: int = 256
    ) -> Statistics:
        """Statistics of every batch normalisation for one architecture.

        Args:
            architecture: Of this space.
            images: Training images [n, H, W, C] in [-1, 1], never those that judge.
            batch_size: Statistics are averaged over batches of this size, a rest dropped.

        Source: slimmable networks, arXiv:1903.05134, section 3.3 (post-statistics).
        """
        encoded = tf.constant(encode(self.space, architecture))
        size = min(batch_size, len(images))
        starts = range(0, len(images) - size + 1, size)
        parts = [self.calibrate(encoded, images[at : at + size]).numpy() for at in starts]
        mean: Statistics = np.mean(parts, axis=0, dtype=np.float32)
        return mean

    def predict_all(
        self,
        architecture: Architecture,
        images: FloatArray,
        statistics: Statistics,
        batch_size: int = 512,
    ) -> FloatArray:
        """Logits [n, classes] of one architecture under given statistics."""
        encoded = tf.constant(encode(self.space, architecture))
        given = tf.constant(statistics)
        parts = [
            self.predict(encoded, images[at : at + batch_size], given).numpy()
            for at in range(0, len(images), batch_size)
        ]
        return np.concatenate(parts)

    def extract(self, architecture: Architecture, statistics: Statistics) -> dict[str, FloatArray]:
        """Weights of one architecture, by the names of :mod:`spaces.keras_model`."""
        encoded = encode(self.space, architecture)
        weights: dict[str, FloatArray] = {}
        graph = self.space.lower(architecture)
        for op in graph.ops:
            if not op.weights:
                continue
            source = self._source(op.name, architecture)
            kernel = self.parameters[f"{source}/kernel"].numpy()
            start = (kernel.shape[0] - op.kernel_size[0]) // 2
            kernel = kernel[start : start + op.kernel_size[0], start : start + op.kernel_size[1]]
            if op.name.endswith("/depthwise"):
                weights[f"{layer_name(op.name)}:depthwise_kernel"] = kernel[:, :, : op.in_channels]
            else:
                depth = op.in_channels // op.groups
                weights[f"{layer_name(op.name)}:kernel"] = kernel[:, :, :depth, : op.out_channels]
            norm = f"{layer_name(op.name)}.bn"
            for part in ("gamma", "beta"):
                value = self.parameters[f"{source}/{part}"].numpy()
                weights[f"{norm}:{part}"] = value[: op.out_channels]
            slot = self._norm_index[source]
            weights[f"{norm}:moving_mean"] = statistics[0, slot, : op.out_channels]
            weights[f"{norm}:moving_variance"] = statistics[1, slot, : op.out_channels]
        width = int(encoded[-1][CHANNELS])
        weights["logits:kernel"] = self.parameters["logits/kernel"].numpy()[:width]
        weights["logits:bias"] = self.parameters["logits/bias"].numpy()
        return weights

    def _source(self, op_name: str, architecture: Architecture) -> str:
        place, _, part = op_name.rpartition("/")
        return f"{place}/{architecture.values[f'{place}/op']}/{part}" if place else op_name

    def used_by(self, architecture: Architecture) -> frozenset[str]:
        """Names of the parameters that an architecture reads."""
        sources = {
            self._source(op.name, architecture) for op in self.space.lower(architecture).ops
        }
        sources.add("logits")
        return frozenset(n for n in self.parameters if n.rpartition("/")[0] in sources)

    def state(self) -> dict[str, FloatArray]:
        """All weights by name."""
        return {name: variable.numpy() for name, variable in self.parameters.items()}

    def restore(self, state: Mapping[str, FloatArray]) -> None:
        """Load what :meth:`state` returned."""
        for name, variable in self.parameters.items():
            variable.assign(state[name])


@final
class _Norm:
    """Batch normalisation with the batch's own statistics, or with given ones."""

    def __init__(self, supernet: Supernet, statistics: Tensor | None) -> None:
        self._net, self._statistics = supernet, statistics
        self._activate = tf.nn.relu6 if supernet.space.activation == "relu6" else tf.nn.relu

    def __call__(self, x: Tensor, name: str, found: dict[str, Tensor], relu: bool) -> Tensor:
        channels = tf.shape(x)[-1]
        gamma = self._net.parameters[f"{name}/gamma"][:channels]
        beta = self._net.parameters[f"{name}/beta"][:channels]
        if self._statistics is None:
            x, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                x, gamma, beta, epsilon=BATCH_NORM_EPSILON, is_training=True
            )
            padding = [[0, 0], [0, self._net.max_channels - channels]]
            found[name] = tf.ensure_shape(
                tf.pad(tf.stack([mean, variance]), padding), [2, self._net.max_channels]
            )
        else:
            mean, variance = tf.unstack(
                self._statistics[:, self._net._norm_index[name], :channels], axis=0
            )
            x, _, _ = tf.compat.v1.nn.fused_batch_norm(
                x, gamma, beta, mean, variance, epsilon=BATCH_NORM_EPSILON, is_training=False
            )
        return self._activate(x) if relu else x
