"""Integration tests of `knative/status`."""
