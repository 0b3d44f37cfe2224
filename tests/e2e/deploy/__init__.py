"""Tests of `deploy` on a real cluster."""
