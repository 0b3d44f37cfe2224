"""Unit tests of `knative/resources, rendered`."""
