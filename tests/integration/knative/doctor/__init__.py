"""Integration tests of `knative/doctor`."""
