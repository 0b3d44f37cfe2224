"""Integration tests of `oci`."""
