"""What is learned, and how: problems, trainings, quantization."""
