"""Integration tests of `knative`."""
