"""OpGraph -> Keras model, and its weights by op name.

The model is built from the same ops the cost model reads, so what is costed is what is trained.
Layers are named after their op with dots for slashes; its batch normalisation and activation carry
the suffixes ``.bn`` and ``.act``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # tensorflow-model-optimization needs tf-keras

import tf_keras as keras

from spaces.graph import INPUT, Op, OpGraph, OpKind

BATCH_NORM_EPSILON = 1e-3  # of the released MobileNetEdgeTPU models
WeightsByName = Mapping[str, NDArray[np.float32]]

_PARTS: dict[str, tuple[str, ...]] = {
    "Conv2D": ("kernel", "bias"),
    "DepthwiseConv2D": ("depthwise_kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}


class UnsupportedOpError(ValueError):
    """A graph holds an op that has no Keras layer here."""


def build_model(
    graph: OpGraph, dropout: float = 0.0, momentum: float = 0.9, output: str | None = None
) -> keras.Model:
    """A functional Keras model of ``graph``.

    Args:
        graph: Input shape (1, H, W, C).
        dropout: Rate before each fully connected layer, in training only.
        momentum: Of the batch normalisations' moving statistics.
        output: Name of the op whose output the model returns; None: the last one.

    Returns:
        A model of inputs [batch, H, W, C] float32.

    Raises:
        UnsupportedOpError: An op has no layer here.
    """
    _use_native_group_convolution()
    tensors = {INPUT: keras.Input(graph.input_shape[1:], name=INPUT)}
    last = output or graph.output.name
    for op in graph.ops:
        inputs = [tensors[name] for name in op.inputs]
        tensors[op.name] = _apply(op, inputs, dropout, momentum)
        if op.name == last:
            break
    return keras.Model(tensors[INPUT], tensors[last], name="network")


def _apply(op: Op, inputs: list[keras.KerasTensor], dropout: float, momentum: float):  # type: ignore[no-untyped-def]
    name = layer_name(op.name)
    if op.kind not in _LAYERS:
        raise UnsupportedOpError(
            f"{op.name}: op kind must be one of {', '.join(_LAYERS)}, but got {op.kind}."
        )
    tensor = inputs[0]
    if op.kind is OpKind.FULLY_CONNECTED and dropout:
        tensor = keras.layers.Dropout(dropout, name=f"{name}.dropout")(tensor)
    layer = _LAYERS[op.kind](op, name)
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


def _conv(op: Op, name: str) -> keras.layers.Layer:
    return keras.layers.Conv2D(
        op.out_channels,
        op.kernel_size,
        op.strides,
        "same",
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
        use_bias=op.use_bias,
        depthwise_initializer="he_normal",
        name=name,
    )


def _sum(op: Op, name: str) -> keras.layers.Layer:
    """Of two tensors; of one and constants: see ``MUL``."""
    if len(op.inputs) == 1:
        return keras.layers.Activation("linear", name=name)
    return keras.layers.Add(name=name)


_LAYERS: dict[OpKind, Callable[[Op, str], keras.layers.Layer]] = {
    OpKind.CONV_2D: _conv,
    OpKind.DEPTHWISE_CONV_2D: _depthwise,
    OpKind.ADD: lambda op, name: _sum(op, name),
    OpKind.AVERAGE_POOL_2D: lambda op, name: keras.layers.AveragePooling2D(
        op.kernel_size, op.strides, "same", name=name
    ),
    # Of one input: by constants, which a batch normalisation behind it has.
    OpKind.MUL: lambda _, name: keras.layers.Activation("linear", name=name),
    OpKind.RELU: lambda _, name: keras.layers.ReLU(name=name),
    OpKind.MEAN: lambda _, name: keras.layers.GlobalAveragePooling2D(name=name),
    OpKind.FULLY_CONNECTED: lambda op, name: keras.layers.Dense(
        op.out_channels, use_bias=op.use_bias, name=name
    ),
    OpKind.SOFTMAX: lambda _, name: keras.layers.Softmax(name=name),
}


def _use_native_group_convolution() -> None:
    """Keep tf-keras from compiling grouped convolutions with XLA, where it can.

    Its ``Conv2D`` sends ``groups > 1`` through ``tf.function(jit_compile=True)``, from the time
    when the CPU kernel could not do groups. It can now, and its gradient is ten times faster than
    XLA's. tensorflow-model-optimization knows layers by their exact class, hence no subclass.
    """
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
