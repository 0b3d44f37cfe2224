"""Unit tests of `trainer/model`."""
