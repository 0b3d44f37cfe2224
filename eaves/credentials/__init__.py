"""Credentials of a process for a broker or a camera, which are read from files and never shown.

aws_signature  signing a function's GET requests to object stores with the S3 API
folder         reading `Credentials` from a folder of files, as Kubernetes mounts a Secret
placeholders   filling credentials into an address
redact         removing passwords and tokens from text
"""
