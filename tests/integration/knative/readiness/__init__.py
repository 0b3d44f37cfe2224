"""Integration tests of `knative/readiness`."""
