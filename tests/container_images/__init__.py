"""Container images in the tests: made, unpacked and started, and kept at a registry."""
