"""Converts Keras applications, whose latency is public, to int8 ``.tflite`` files.

    python -m benchmarks.keras_networks --out DIR        # three minutes, 180 MB, no download

Weights do not matter for a latency: they are random. Inputs have the applications' default
sizes with a batch of 1, a single random image sets the ranges, all is int8. Files that exist stay.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

SIZES = {
    "EfficientNetB0": 224,
    "InceptionV3": 299,
    "ResNet50": 224,
    "ResNet101": 224,
    "ResNet101V2": 224,
    "Xception": 299,
}
"""Applications and the side of their input, in pixels."""


def converted(name: str, seed: int) -> bytes:
    """An application as an int8 ``.tflite``."""
    import numpy as np
    import tensorflow as tf
    import tf_keras

    shape = (1, SIZES[name], SIZES[name], 3)
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
    network = getattr(tf_keras.applications, name)(weights=None, input_shape=shape[1:])
    function = tf.function(lambda images: network(images, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))

    def images() -> Iterator[list[object]]:
        yield [np.random.default_rng(seed).random(shape, np.float32)]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = images
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    """Convert what is not there yet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keras_networks")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--names", nargs="+", default=list(SIZES), choices=SIZES, metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        path = options.out / f"{name}.tflite"
        if not path.exists():
            data = converted(name, options.seed)
            path.write_bytes(data)
            print(f"{path.name}: {len(data):,} B", flush=True)


if __name__ == "__main__":
    main()
