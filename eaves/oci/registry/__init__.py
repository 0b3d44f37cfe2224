"""A registry over HTTP: content by digest, and names for it.

registry         reading and writing container images
transport        requests with redirects, time limits and retries
authentication   answering a registry's challenge
credentials      the user's login at a registry, from Docker's configuration
download         a blob as a stream that resumes after an interruption
response         reading a registry's response within size limits
"""
