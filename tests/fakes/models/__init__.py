"""Models, artifacts and graphs that need no training."""
