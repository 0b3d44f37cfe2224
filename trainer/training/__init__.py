"""What decides about a training beside its loop: when it is stuck, what its result is worth, how it is continued."""
