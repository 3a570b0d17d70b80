"""What is learned, and how: problems, trainings, quantization."""

import spaces.trainable  # noqa: F401 - sets TensorFlow up before a module here imports it
