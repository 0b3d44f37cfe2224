"""Unit tests of `knative/gitops`."""
