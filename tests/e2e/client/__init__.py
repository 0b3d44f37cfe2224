"""Tests of `client` on a real cluster."""
