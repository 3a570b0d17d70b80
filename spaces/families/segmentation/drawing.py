"""Feature maps and what heads do to them, drawn op by op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from spaces.batching.places import Source
from spaces.graph import Activation, Op, OpKind, Shape


@final
class Drawing:
    """Ops of a head that is being written. Methods return the name and shape of what they add.

    Attributes:
        ops: So far, in topological order.
    """

    def __init__(self, variant: str = "") -> None:
        """``variant``: of all ops, see :class:`spaces.graph.Op`."""
        self.ops: list[Op] = []
        self._variant = variant

    def pointwise(
        self,
        name: str,
        source: Source,
        channels: int,
        activation: Activation = "none",
        batch_norm: bool = True,
        use_bias: bool = False,
    ) -> Source:
        """A 1x1 convolution."""
        producer, shape = source
        op = Op(
            name,
            OpKind.CONV_2D,
            (producer,),
            shape,
            (*shape[:-1], channels),
            activation=activation,
            batch_norm=batch_norm,
            use_bias=use_bias,
            variant=self._variant,
        )
        return self._emit(op)

    def depthwise(
        self,
        name: str,
        source: Source,
        activation: Activation = "none",
        batch_norm: bool = True,
        dilation: int = 1,
    ) -> Source:
        """A depthwise 3x3 convolution; ``dilation`` is the step between its nine points."""
        producer, shape = source
        op = Op(
            name,
            OpKind.DEPTHWISE_CONV_2D,
            (producer,),
            shape,
            shape,
            (3, 3),
            activation=activation,
            batch_norm=batch_norm,
            dilation=(dilation, dilation),
            variant=self._variant,
        )
        return self._emit(op)

    def separable(
        self, name: str, source: Source, channels: int, activation: Activation, dilation: int = 1
    ) -> Source:
        """A depthwise 3x3 and a 1x1 convolution with nothing between them, normalised once."""
        spread = self.depthwise(f"{name}/depthwise", source, batch_norm=False, dilation=dilation)
        return self.pointwise(f"{name}/pointwise", spread, channels, activation)

    def total(self, name: str, sources: Sequence[Source]) -> Source:
        """The sum of maps of one shape, two at a time: ``ADD_N`` is not for the Edge TPU."""
        result = sources[0]
        for number, source in enumerate(sources[1:], 1):
            pair, shape = (result[0], source[0]), source[1]
            result = self._plain(f"{name}/sum{number}", OpKind.ADD, pair, shape, shape)
        return result

    def concatenation(self, name: str, sources: Sequence[Source]) -> Source:
        """Maps of one size, channel behind channel."""
        first = sources[0][1]
        after = (*first[:-1], sum(shape[-1] for _, shape in sources))
        names = tuple(producer for producer, _ in sources)
        return self._plain(name, OpKind.CONCATENATION, names, first, after)

    def resized(self, name: str, source: Source, size: tuple[int, int]) -> Source:
        """Bilinear, to exactly ``size`` (height, width); no op where that changes nothing."""
        producer, shape = source
        if shape[1:3] == size:
            return source
        after = (1, *size, shape[-1])
        return self._plain(name, OpKind.RESIZE_BILINEAR, (producer,), shape, after)

    def halved(self, name: str, source: Source) -> Source:
        """The average of 3x3 windows at every other place: half the size, rounded up."""
        producer, shape = source
        after = (1, -(-shape[1] // 2), -(-shape[2] // 2), shape[-1])
        kind, strides = OpKind.AVERAGE_POOL_2D, (2, 2)
        return self._plain(name, kind, (producer,), shape, after, (3, 3), strides)

    def mean(self, name: str, source: Source) -> Source:
        """The average over the whole map, (1, 1, 1, C)."""
        producer, shape = source
        after, window = (1, 1, 1, shape[-1]), (shape[1], shape[2])
        return self._plain(name, OpKind.MEAN, (producer,), shape, after, window)

    def _plain(
        self,
        name: str,
        kind: OpKind,
        inputs: tuple[str, ...],
        before: Shape,
        after: Shape,
        window: tuple[int, int] = (1, 1),
        strides: tuple[int, int] = (1, 1),
    ) -> Source:
        variant = self._variant
        return self._emit(Op(name, kind, inputs, before, after, window, strides, variant=variant))

    def _emit(self, op: Op) -> Source:
        self.ops.append(op)
        return op.name, op.output_shape
