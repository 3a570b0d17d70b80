"""The Edge TPU: what its compiler maps, where things lie, how long ops take."""
