"""A registry over HTTP: content by digest, and names for it.

registry         container images read from it and written to it
transport        requests: redirects, time limits, attempts
authentication   what a registry asks for before it lets in
credentials      who the user is at a registry, by Docker's configuration
download         a blob as a stream, continued where it broke off
response         what a registry answered, read within bounds
"""
