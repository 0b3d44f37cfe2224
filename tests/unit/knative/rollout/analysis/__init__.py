"""Unit tests of `knative/rollout/analysis`."""
