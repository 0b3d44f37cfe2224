"""Integration tests of `knative/deploy`."""
