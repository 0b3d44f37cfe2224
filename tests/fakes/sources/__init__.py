"""An agent as one source sees it."""
