"""Integration tests of `http_client`."""
