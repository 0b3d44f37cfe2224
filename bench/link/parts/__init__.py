"""What a run is made of: processes that are killed, a camera, the place where cloud-only's predictions arrive."""
