"""Unit tests of `trainer/pixel_scale`."""
