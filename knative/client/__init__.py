"""A connection to one API server as one user: requests, watches, logs, and connections to pods, with plain dicts.

    cluster             reads, applies, deletes and watches objects, reads logs, connects to pods
    kinds               the kinds of objects and their paths at the API server
    transport           time limits, retries, renewed credentials
    watch               follows changes of objects and lines of logs, across broken connections
    api_errors          turns refusals of an API server into errors with fixes
    connection_errors   turns a missing answer of an API server into errors
    port_forward        sends HTTP to a port inside a pod
    proxy_routes        reaches addresses inside a cluster through the API server's proxy
    login/              chooses the API server and the user's credentials

This package knows nothing about the objects of Eaves.
"""
