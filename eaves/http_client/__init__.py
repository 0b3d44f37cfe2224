"""The only place that builds HTTP clients, with their certificate authorities, proxies and time limits.

pools                  the client on which all others are built, and how soon it notices lost packets
proxies, trust         HTTPS_PROXY and NO_PROXY; certificate authorities
retry_after            the Retry-After header
response_body          reading a response's body within limits of size and time
connection_errors      reasons why a request was never sent
open_sockets           ending an exchange from another thread

`pools`, `connection_errors` and `open_sockets` import urllib3; the others need the standard library only, so a
function's process can use them. No module here reads `os.environ`; entry points pass the environment in. No module here
retries, follows redirects or depends on what is sent.

The `kubernetes` client sets up the API server's pool from a kubeconfig (`knative.client.kubeconfig`). A training reads
its data through fsspec (`trainer.data.remote`), whose packages bring clients of their own.
"""
