"""Content by digest, and names for it.

content_store   what a layout and a registry have in common
layout          an OCI layout on disk
partial         content that has arrived in part, for whoever goes on with it
archive         a layout as one tar
"""
