"""OpGraph -> Keras model, and its weights by op name.

The model is built from the same ops the cost model reads, so what is costed is what is trained.
Layers are named after their op with dots for slashes; its batch normalisation and activation carry
the suffixes ``.bn`` and ``.act``.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from spaces.graph import Op, OpGraph, OpKind
from spaces.trainable.tensor_ops import check_known, compute, weight_shapes

BATCH_NORM_EPSILON = 1e-3  # of the released MobileNetEdgeTPU models
WeightsByName = Mapping[str, NDArray[np.float32]]

_PARTS: dict[str, tuple[str, ...]] = {
    "Conv2D": ("kernel", "bias"),
    "DepthwiseConv2D": ("depthwise_kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "Computed": ("constant",),
}


def build_model(
    graph: OpGraph,
    dropout: float = 0.0,
    momentum: float = 0.9,
    outputs: tuple[str, ...] | None = None,
) -> keras.Model:
    """A functional Keras model of ``graph``.

    Args:
        graph: Any inputs; ops behind ``outputs`` are left out.
        dropout: Rate before each fully connected layer, in training only.
        momentum: Of the batch normalisations' moving statistics.
        outputs: Names of the ops whose outputs the model returns; None: the last one.

    Returns:
        A model of the graph's inputs (a list where there are several, named as in the graph)
        [batch, ...] float32, or int32 where they are numbers of rows of a table. It returns a
        tensor, or a list where there are several outputs.

    Raises:
        UnsupportedOpError: An op has no layer here.
    """
    _use_native_group_convolution()
    wanted = outputs or (graph.output.name,)
    rows = integer_inputs(graph)
    sources = {
        name: keras.Input(shape[1:], name=name, dtype="int32" if name in rows else None)
        for name, shape in graph.inputs
    }
    tensors = dict(sources)
    for op in up_to(graph, wanted).ops:
        inputs = [tensors[name] for name in op.inputs]
        tensors[op.name] = _apply(op, inputs, dropout, momentum)
    entries, results = list(sources.values()), [tensors[name] for name in wanted]
    return keras.Model(_alone(entries), _alone(results), name="network")


def integer_inputs(graph: OpGraph) -> frozenset[str]:
    """Inputs that are numbers of rows of a table."""
    return frozenset(
        name for op in graph.ops if op.kind is OpKind.GATHER and op.constant for name in op.inputs
    )


def up_to(graph: OpGraph, outputs: tuple[str, ...]) -> OpGraph:
    """The ops that the ``outputs`` need."""
    needed: set[str] = set(outputs)
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if op.name in needed:
            kept.append(op)
            needed.update(op.inputs)
    return OpGraph(graph.input_shape, tuple(reversed(kept)), (), graph.more_inputs)


def _alone(items: list[Any]) -> Any:
    return items if len(items) > 1 else items[0]


def _apply(op: Op, inputs: list[keras.KerasTensor], dropout: float, momentum: float):  # type: ignore[no-untyped-def]
    name = layer_name(op.name)
    tensor = inputs[0]
    if op.kind is OpKind.FULLY_CONNECTED and dropout:
        tensor = keras.layers.Dropout(dropout, name=f"{name}.dropout")(tensor)
    layer = _layer(op, name)
    tensor = layer(inputs if len(inputs) > 1 else tensor)
    if op.batch_norm:
        norm = keras.layers.BatchNormalization(
            momentum=momentum, epsilon=BATCH_NORM_EPSILON, name=f"{name}.bn"
        )
        tensor = norm(tensor)
    if op.activation != "none":
        limit = 6.0 if op.activation == "relu6" else None
        tensor = keras.layers.ReLU(limit, name=f"{name}.act")(tensor)
    return tensor


def _layer(op: Op, name: str) -> keras.layers.Layer:
    """Keras' own layer where it has one that does just this, else :class:`Computed`."""
    if op.kind in _LAYERS and not op.constant:
        return _LAYERS[op.kind](op, name)
    return Computed(op, name=name)


def _first(op: Op) -> Any:
    """Where a learned operand begins: factors at one, addends at zero.

    Tables begin at random, as in :class:`spaces.trainable.supernet.Supernet`: at zero the kernel
    that reads them would have no gradient.
    """
    if op.kind is OpKind.GATHER:
        return keras.initializers.RandomNormal(stddev=0.05)
    return "ones" if op.kind is OpKind.MUL else "zeros"


@keras.utils.register_keras_serializable("edgenas")
class Computed(keras.layers.Layer):  # type: ignore[misc]
    """An op that Keras has no layer for: :func:`spaces.trainable.tensor_ops.compute` of it."""

    def __init__(self, op: Op | Mapping[str, Any], **kwargs: Any) -> None:
        """``op`` may be a mapping of its fields, as :meth:`get_config` writes it."""
        super().__init__(**kwargs)
        self.op = op if isinstance(op, Op) else _op_of(op)
        self.constant: Any = None
        check_known(self.op)

    def build(self, input_shape: Any) -> None:
        """Create the learned operand, if there is one."""
        shape = weight_shapes(self.op).get("constant")
        if shape:
            self.constant = self.add_weight("constant", shape, initializer=_first(self.op))
        super().build(input_shape)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The op's output, before its activation; the same in training."""
        given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        weights = {} if self.constant is None else {"constant": self.constant}
        return compute(self.op, given, weights)

    def get_config(self) -> dict[str, Any]:
        """What makes an equal layer."""
        return {**super().get_config(), "op": dataclasses.asdict(self.op)}


def _op_of(fields: Mapping[str, Any]) -> Op:
    """An op from its fields, after a way through JSON perhaps."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list | tuple) else value
        for name, value in fields.items()
    }
    return Op(**{**values, "kind": OpKind(values["kind"])})


def _conv(op: Op, name: str) -> keras.layers.Layer:
    return keras.layers.Conv2D(
        op.out_channels,
        op.kernel_size,
        op.strides,
        "same",
        dilation_rate=op.dilation,
        groups=op.groups,
        use_bias=op.use_bias,
        kernel_initializer="he_normal",
        name=name,
    )


def _depthwise(op: Op, name: str) -> keras.layers.Layer:
    return keras.layers.DepthwiseConv2D(
        op.kernel_size,
        op.strides,
        "same",
        dilation_rate=op.dilation,
        use_bias=op.use_bias,
        depthwise_initializer="he_normal",
        name=name,
    )


def _sum(op: Op, name: str) -> keras.layers.Layer:
    """Of two tensors; of one and constants: see ``MUL``."""
    if len(op.inputs) == 1:
        return keras.layers.Activation("linear", name=name)
    return keras.layers.Add(name=name)


def _mean(op: Op, name: str) -> keras.layers.Layer:
    if len(op.input_shape) == 4 and len(op.output_shape) == 2:
        return keras.layers.GlobalAveragePooling2D(name=name)
    return Computed(op, name=name)


def _multiply(op: Op, name: str) -> keras.layers.Layer:
    """Of one input: by constants, which a batch normalisation behind it has."""
    if len(op.inputs) == 1:
        return keras.layers.Activation("linear", name=name)
    return Computed(op, name=name)


_LAYERS: dict[OpKind, Callable[[Op, str], keras.layers.Layer]] = {
    OpKind.CONV_2D: _conv,
    OpKind.DEPTHWISE_CONV_2D: _depthwise,
    OpKind.ADD: _sum,
    OpKind.AVERAGE_POOL_2D: lambda op, name: keras.layers.AveragePooling2D(
        op.kernel_size, op.strides, "same", name=name
    ),
    OpKind.MAX_POOL_2D: lambda op, name: keras.layers.MaxPooling2D(
        op.kernel_size, op.strides, "same", name=name
    ),
    OpKind.MUL: _multiply,
    OpKind.RELU: lambda _, name: keras.layers.ReLU(name=name),
    OpKind.MEAN: _mean,
    OpKind.FULLY_CONNECTED: lambda op, name: keras.layers.Dense(
        op.out_channels, use_bias=op.use_bias, name=name
    ),
    OpKind.CONCATENATION: lambda op, name: keras.layers.Concatenate(
        op.axes[0] if op.axes else -1, name=name
    ),
    OpKind.RESHAPE: lambda op, name: keras.layers.Reshape(op.output_shape[1:], name=name),
    OpKind.SOFTMAX: lambda _, name: keras.layers.Softmax(name=name),
}


def _use_native_group_convolution() -> None:
    """Keep tf-keras from compiling grouped convolutions with XLA, where it can.

    Its ``Conv2D`` sends ``groups > 1`` through ``tf.function(jit_compile=True)``, from the time
    when the CPU kernel could not do groups. It can now, and its gradient is ten times faster than
    XLA's. tensorflow-model-optimization knows layers by their exact class, hence no subclass.
    The gradient is oneDNN's: whoever turns that off has XLA.
    """
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0":
        keras.layers.Conv2D._jit_compiled_convolution_op = keras.layers.Conv2D.convolution_op


def layer_name(op_name: str) -> str:
    """Keras layer name of an op."""
    return op_name.replace("/", ".")


def get_weights(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Weights by ``"<layer>:<part>"``, e.g. ``"stage1.block0.expand.bn:gamma"``, sorted."""
    found: dict[str, NDArray[np.float32]] = {}
    for layer in model.layers:
        for part in _PARTS.get(type(layer).__name__, ()):
            variable = getattr(layer, part, None)
            if variable is not None:
                found[f"{layer.name}:{part}"] = variable.numpy()
    return dict(sorted(found.items()))


def set_weights(model: keras.Model, weights: WeightsByName) -> None:
    """Load weights by name; every weight of the model must be given.

    Raises:
        KeyError: A weight is missing.
        ValueError: A shape differs.
    """
    for layer in model.layers:
        for part in _PARTS.get(type(layer).__name__, ()):
            variable = getattr(layer, part, None)
            if variable is not None:
                variable.assign(weights[f"{layer.name}:{part}"])
