"""One API server as one user: requests, watches, logs, and connections to pods, in plain dicts.

    cluster             reads, applies, deletes and watches objects, reads logs, reaches pods
    kinds               where the API server has each kind of object
    transport           time limits, retries, renewed credentials
    watch               changes and lines of logs, over connections that break
    api_errors          refusals of an API server as errors with remedies
    connection_errors   no answer of an API server, as errors
    port_forward        HTTP to a port inside a pod
    proxy_routes        addresses inside a cluster, through the API server's proxy
    login/              which API server, and as whom

Nothing here knows of Eaves' own objects.
"""
