"""How TensorFlow is set up: in a process of its own, since this one has it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SAID = (
    "import os, sys, {}; print('tensorflow' in sys.modules, os.environ['TF_ENABLE_ONEDNN_OPTS'])"
)
GRADIENT = """
import spaces.trainable
import tensorflow as tf
kernel = tf.ones((3, 3, 4, 8))
with tf.GradientTape() as tape:
    tape.watch(kernel)
    loss = tf.reduce_sum(tf.function(tf.nn.conv2d)(tf.ones((2, 8, 8, 8)), kernel, 1, "SAME"))
print(float(tf.reduce_sum(tape.gradient(loss, kernel))))
"""


def _printed(code: str, **more: str) -> str:
    environment = {n: v for n, v in os.environ.items() if not n.startswith("TF_")} | more
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("name", ["spaces.trainable", "tasks.learning.training"])
def test_onednn_is_on_before_tensorflow_is_imported(name: str) -> None:
    assert _printed(SAID.format(name)) == "False 1"


@pytest.mark.parametrize("asked", [{}, {"TF_FORCE_GPU_ALLOW_GROWTH": "false"}])
def test_a_process_leaves_room_on_a_gpu_unless_told(asked: dict[str, str]) -> None:
    said = "import os, spaces.trainable; print(os.environ['TF_FORCE_GPU_ALLOW_GROWTH'])"
    assert _printed(said, **asked) == asked.get("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def test_who_turns_onednn_off_is_heard() -> None:
    assert _printed(SAID.format("spaces.trainable"), TF_ENABLE_ONEDNN_OPTS="0") == "False 0"


def test_group_convolutions_have_gradients_on_every_processor() -> None:
    # by hand: of 8 x 8 places with 1 around, each tap of 3 x 3 sees 8, 7 or 7 in each direction
    assert float(_printed(GRADIENT)) == 2 * 4 * 8 * (8 + 7 + 7) ** 2
