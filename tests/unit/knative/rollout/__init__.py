"""Unit tests of `knative/rollout`."""
