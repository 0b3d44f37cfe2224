"""Cold starts on Knative: what is pure."""
