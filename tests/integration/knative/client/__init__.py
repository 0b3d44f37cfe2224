"""Integration tests of `knative/client`."""
