"""Reading ``.tflite`` files, without TensorFlow."""
