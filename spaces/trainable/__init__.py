"""Graphs that learn: the only TensorFlow of this room."""

import os

# TensorFlow reads these once, when it is imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # tensorflow-model-optimization needs tf-keras
# oneDNN is on by itself on processors with AVX512_VNNI alone. Others need it as much: without it
# group convolutions have no gradient, and with AVX2 a step takes 1.6 to 1.8 times as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Several processes train side by side: each takes of a GPU what it needs, and not all of it.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
