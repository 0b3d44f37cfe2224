"""Storage of content by digest, and of names for it.

content_store   the interfaces that a layout and a registry implement, and verification of a stream
layout          an OCI layout, a directory on disk, also written as one tar file
partial         partly downloaded content, which a later process continues
"""
