"""Unit tests of `knative/training`."""
