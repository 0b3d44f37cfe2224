"""Unit tests of `oci/store`."""
