"""Tests of `training` on a real cluster."""
