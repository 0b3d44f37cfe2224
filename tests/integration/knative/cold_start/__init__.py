"""Cold starts on a simulated cluster."""
