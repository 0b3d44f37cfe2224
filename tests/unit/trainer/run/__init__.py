"""Unit tests of `trainer/run`."""
