"""Signatures of container images, in cosign's format.

keys        ECDSA keys, in files as cosign writes them
signature   signatures made and verified
integrity   every byte of a container image against what its documents say
"""
