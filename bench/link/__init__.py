"""Measures predictions over a bad link between edge and cloud, with simulated faults: docs/18-link-experiment.md."""
