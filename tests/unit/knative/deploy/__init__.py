"""Unit tests of `knative/deploy`."""
