"""Simulated clusters in the tests: apps, deploys, rollouts and sites on them, and what is expected there."""
