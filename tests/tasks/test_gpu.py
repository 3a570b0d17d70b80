"""A step on a GPU is the step on the processor, to the digits that sums in another order leave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spaces.menu import load_baselines, load_space

NAME, WHO, SIDE, BATCH, CLASSES = "mobilenet_edgetpu_v2", "s", 224, 4, 1001


def _step(device: str) -> tuple[float, float]:
    """Loss and norm of the gradient of one step on random pictures."""
    import tensorflow as tf
    import tf_keras as keras

    from spaces.heads.classification import classification
    from spaces.trainable.keras_model import build_model

    graph = classification(load_space(NAME).lower(load_baselines(NAME)[WHO]), CLASSES)
    rng = np.random.default_rng(0)
    pictures = tf.constant(rng.normal(size=(BATCH, SIDE, SIDE, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, CLASSES, BATCH))
    with tf.device(device):
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = build_model(graph)

        @tf.function(autograph=False)
        def step() -> Any:
            with tf.GradientTape() as tape:
                logits = model(pictures, training=True)
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                )
            return loss, tf.linalg.global_norm(tape.gradient(loss, model.trainable_variables))

        loss, norm = step()
    return float(loss), float(norm)


@pytest.mark.gpu
def test_a_step_on_a_gpu_is_that_on_the_processor() -> None:
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU")
    assert _step("/GPU:0") == pytest.approx(_step("/CPU:0"), rel=0.01)
