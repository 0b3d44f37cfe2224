"""Content by digest, and names for it.

content_store   the interfaces that a layout and a registry implement
layout          an OCI layout on disk
partial         content that has arrived in part, and that the next process continues
archive         a layout as one tar
"""
