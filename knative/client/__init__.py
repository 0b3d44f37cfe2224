"""A connection to one API server as one user: requests, watches, logs, and connections to pods, with plain dicts.

    kubeconfig     chooses the API server and the user's credentials
    transport      time limits, retries, renewed credentials
    api_errors     turns refusals and missing answers of an API server into errors with fixes
    kinds          the kinds of objects and their paths at the API server
    port_forward   sends HTTP to a port inside a pod
    cluster        reads, applies, deletes and watches objects; logs of pods, and HTTP to pods and Services

This package knows nothing about the objects of Eaves.
"""
