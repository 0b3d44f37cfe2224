"""Unit tests of `http_client`."""
