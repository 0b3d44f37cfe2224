"""Benchmarks of making a model: training, conversion, and the int8 gate."""
