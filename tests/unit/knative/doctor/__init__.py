"""Unit tests of `knative/doctor`."""
