"""Unit tests of `oci`."""
