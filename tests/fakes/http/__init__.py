"""HTTP servers that answer as a test says: cameras, proxies, receivers, registries."""
