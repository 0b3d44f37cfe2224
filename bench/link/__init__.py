"""The link between edge and cloud: simulated faults, and the experiment of docs/18-link-experiment.md."""
