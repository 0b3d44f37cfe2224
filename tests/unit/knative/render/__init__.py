"""Unit tests of `knative/render`."""
