"""Experiment on the link between edge and cloud, and the simulated faults for it: docs/18-link-experiment.md."""
