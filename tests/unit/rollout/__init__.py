"""Unit tests of `eaves/rollout`."""
