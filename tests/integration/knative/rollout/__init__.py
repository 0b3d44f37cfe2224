"""Integration tests of `knative/rollout`."""
