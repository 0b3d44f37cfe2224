"""Credentials of a process for a broker or a camera, which are read from files and never shown.

folder         reading `Credentials` from a folder of files, as Kubernetes mounts a Secret
placeholders   filling credentials into an address
redact         removing passwords and tokens from text
"""
