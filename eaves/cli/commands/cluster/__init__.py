"""Commands for clusters only: what is applied to them, rollouts, and their problems."""
