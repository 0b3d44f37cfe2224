"""Experiment on the link between edge and cloud, see docs/18-link-experiment.md, and the simulated faults that it uses."""
