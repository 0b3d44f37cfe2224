"""Tests of `relay` on a real cluster."""
