"""The one place that builds HTTP clients: certificate authorities, proxies, time limits.

pools                  the client that every other one is made of
proxies, trust         HTTPS_PROXY and NO_PROXY; certificate authorities
retry_after            the Retry-After header
response_body          the body of an answer, within its bytes and its time
connection_errors      why a request was never sent
open_sockets           ends an exchange from another thread
socket_options         how soon the kernel ends a connection whose packets are swallowed

`pools`, `connection_errors` and `open_sockets` import urllib3; the others need the standard library only, so a
function's process can use them. Nothing here reads `os.environ`: entry points pass the environment in. Nothing here
retries, follows redirects or knows what is sent.

The API server's pool is the one that the `kubernetes` client sets up from a kubeconfig (`knative.client.login`), and a
training's data comes through fsspec (`trainer.data.remote`), whose packages bring clients of their own.
"""
