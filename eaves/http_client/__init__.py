"""The one place that builds HTTP clients: certificate authorities, proxies, time limits.

pools                  the client that every other one is made of
proxies, trust         HTTPS_PROXY and NO_PROXY; certificate authorities
retry_after            the Retry-After header
connection_errors      why a request was never sent
open_sockets           ends an exchange from another thread

`proxies`, `trust` and `retry_after` need the standard library only, so a function's process can use them; `pools` and
`connection_errors` import urllib3. Nothing here reads `os.environ`: entry points pass the environment in. Nothing here
retries, follows redirects or knows what is sent.
"""
