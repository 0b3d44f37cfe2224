"""Unit tests of `oci/sign`."""
