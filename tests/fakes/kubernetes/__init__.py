"""A simulated API server over HTTP: objects, field owners, watches, logs, port-forwards."""
