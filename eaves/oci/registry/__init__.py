"""A registry over HTTP: reading and writing of content by digest, and of the tags that name it.

registry         reading and writing container images
transport        requests with redirects, time limits, retries, and the errors for statuses
authentication   answering a registry's authentication challenge with the login in Docker's configuration
download         a blob as a stream that resumes after an interruption
"""
