"""Integration tests of `eaves/rollout`: simulated rollouts."""
