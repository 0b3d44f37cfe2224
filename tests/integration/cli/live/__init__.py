"""Live views as processes."""
