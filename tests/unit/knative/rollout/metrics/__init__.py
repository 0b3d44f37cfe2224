"""Unit tests of `knative/rollout/metrics`."""
