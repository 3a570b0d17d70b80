"""Nominal against measured time of training steps, on one thread.

    python -m benchmarks.training_speed

For random networks of the small spaces: seconds of one step (forward, backward, optimizer) as
``tasks/workload.py`` computes them and as this machine takes them, and the ratio.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np

from spaces.space import load_trainable, sample
from tasks.problem import problem_of_space
from tasks.workload import step_seconds

CASES = (
    ("mobilenet_edgetpu_v2_small", (1, 16, 16, 3), 64),
    ("mobilenet_edgetpu_v2_small", (1, 32, 32, 3), 64),
    ("mobilenet_edgetpu_v2_small", (1, 48, 48, 3), 64),
    ("segmentation_small", (1, 96, 96, 3), 16),
    ("detection_small", (1, 128, 128, 3), 16),
)
NETWORKS, STEPS = 3, 5


def measured(graph: Any, outputs: tuple[str, ...], shape: tuple[int, ...], batch: int) -> float:
    """Median processor seconds of a step on noise."""
    import tensorflow as tf
    import tf_keras as keras

    from spaces.keras_model import build_model

    model, optimizer = build_model(graph, outputs=outputs), keras.optimizers.Adam(1e-3)
    noise = np.random.default_rng(0).normal(size=(batch, *shape[1:])).astype(np.float32)

    @tf.function
    def step(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            found = tf.nest.flatten(model(inputs, training=True))
            loss = tf.add_n([tf.reduce_mean(tf.square(one)) for one in found])
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    step(tf.constant(noise)).numpy()
    took = []
    for _ in range(STEPS):
        began = time.process_time()
        step(tf.constant(noise)).numpy()
        took.append(time.process_time() - began)
    return statistics.median(took)


def main() -> None:
    """Print a row a network, and the median ratio."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rng, ratios = np.random.default_rng(0), []
    for name, shape, batch in CASES:
        space = load_trainable(name).for_input(shape)
        problem = problem_of_space(space, 10)
        for _ in range(NETWORKS):
            graph = problem.complete(space.lower(sample(space, rng)))
            nominal = step_seconds(graph, batch)
            real = measured(graph, problem.trained, shape, batch)
            ratios.append(nominal / real)
            print(
                f"{name:<28} {shape[1]:>4} px  nominal {1e3 * nominal:6.1f} ms  "
                f"measured {1e3 * real:6.1f} ms  ratio {ratios[-1]:.2f}",
                flush=True,
            )
    print(f"median ratio {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
