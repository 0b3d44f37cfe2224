"""Unit tests of `knative/diagnosis`."""
