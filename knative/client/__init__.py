"""A connection to one API server as one user: requests, watches, logs, and connections to pods, with plain dicts.

    cluster        reads, applies, deletes and watches objects; pods: logs, also followed across broken
                   connections, and HTTP to pods and Services
    kinds          the kinds of objects and their paths at the API server
    transport      time limits, retries, renewed credentials
    api_errors     turns refusals and missing answers of an API server into errors with fixes
    port_forward   sends HTTP to a port inside a pod
    kubeconfig     chooses the API server and the user's credentials

This package knows nothing about the objects of Eaves.
"""
