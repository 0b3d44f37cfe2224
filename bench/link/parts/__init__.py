"""Parts of a run: processes that are killed, a camera, and the collector of cloud-only predictions."""
