"""Tests of `sources` on a real cluster."""
