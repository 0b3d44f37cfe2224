"""Unit tests of `trainer/data/split`."""
