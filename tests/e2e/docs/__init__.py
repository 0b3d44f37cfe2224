"""Pages whose commands need a cluster."""
