"""What a teacher takes at every step: a network's outputs on a batch of 64, on one thread.

    python -m benchmarks.teacher_speed

For hand-made networks of the small space at 32x32: processor seconds of a batch as
``tasks/learning/teacher.py`` asks a ``.tflite`` (float and int8) and a ``.keras`` file, beside the
nominal seconds of a training step of the same network.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np

from spaces.menu import load_baselines, load_trainable
from tasks.candidates.workload import step_seconds
from tasks.learning.problem import problem_of_space
from tasks.learning.teacher import OwnTeacher
from tasks.run.workspace import write_bytes

SPACE, SHAPE, BATCH, REPEATS = "mobilenet_edgetpu_v2_small", (1, 32, 32, 3), 64, 5
NETWORKS = ("edgetpu_v2_s", "edgetpu_v2_l")


def main() -> None:
    """Print a row a network."""
    from spaces.trainable.keras_model import build_model
    from tasks.learning.quantization import Network, export_float, export_post_training
    from tasks.learning.training import configure_tensorflow

    configure_tensorflow(1, True)
    space = load_trainable(SPACE).for_input(SHAPE)
    problem = problem_of_space(space, 10)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *SHAPE[1:]), np.uint8)
    batch = {"images": images}
    for name in NETWORKS:
        graph = problem.complete(space.lower(load_baselines(SPACE)[name]))
        model = build_model(graph, outputs=problem.trained)
        network = Network(model, graph, problem.trained, problem.deployed)
        row = f"{name:<14} nominal step {step_seconds(graph, BATCH):.3f} s  as teacher"
        with tempfile.TemporaryDirectory() as folder:
            samples = {"input": problem.inputs(batch, graph)["input"][:8]}
            write_bytes(Path(folder, "float.tflite"), export_float(network))
            write_bytes(Path(folder, "int8.tflite"), export_post_training(network, samples))
            model.save(Path(folder, "model.keras"))
            for file in ("float.tflite", "int8.tflite", "model.keras"):
                teacher = OwnTeacher(Path(folder, file), problem)
                teacher(batch, graph)
                took = []
                for _ in range(REPEATS):
                    began = time.process_time()
                    teacher(batch, graph)
                    took.append(time.process_time() - began)
                row += f"  {file} {statistics.median(took):.3f} s"
        print(row, flush=True)


if __name__ == "__main__":
    main()
