"""Commands for clusters only, which render and compare objects, control rollouts, and find problems."""
