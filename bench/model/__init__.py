"""Benchmarks of making a model: training, conversion, and the rule that decides whether an int8 model is used."""
