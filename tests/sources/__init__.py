"""Sources that run in the test's own process."""
