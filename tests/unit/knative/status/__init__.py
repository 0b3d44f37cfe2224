"""Unit tests of `knative/status`."""
