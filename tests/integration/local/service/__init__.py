"""The systemd service of the local platform, read and checked by systemd itself."""
