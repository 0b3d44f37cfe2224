"""Unit tests of `knative/readiness`."""
