"""Storage of content by digest, and of names for it.

content_store   the interfaces that a layout and a registry implement
layout          an OCI layout, a directory on disk
partial         partly downloaded content, which a later process continues
archive         a layout as one tar file
"""
