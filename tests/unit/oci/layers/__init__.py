"""Unit tests of `oci/layers`."""
