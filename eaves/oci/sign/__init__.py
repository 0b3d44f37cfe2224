"""Signatures of container images, in cosign's format.

keys        ECDSA keys, in cosign's file formats
signature   making and verifying signatures
integrity   checking every byte of a container image against its documents
"""
