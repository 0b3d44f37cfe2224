"""Live views, without processes."""
