"""Unit tests of `knative/client`."""
