"""Integration tests of `knative/training`."""
