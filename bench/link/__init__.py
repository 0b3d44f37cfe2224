"""The link between edge and cloud: faults on purpose, and the experiment of docs/18-link-experiment.md."""
