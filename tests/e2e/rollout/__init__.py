"""Tests of `rollout` on a real cluster."""
