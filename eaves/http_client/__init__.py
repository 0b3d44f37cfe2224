"""The one place that builds HTTP clients: certificate authorities, proxies, time limits.

`proxies` and `trust` need the standard library only, so a function's process can use them; `pools` and
`connection_errors` import urllib3. Nothing here reads `os.environ`: entry points pass the environment in. Nothing here
retries, follows redirects or knows what is sent.
"""
