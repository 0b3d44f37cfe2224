"""The HTTP client of all rooms, with its certificate authorities, proxies, time limits and words for what fails.

client            one exchange over a kept connection, directly or by a tunnel; reading an answer within limits
headers           the server of a URL, redirects, Retry-After, challenges
explain           why a connection failed, with the setting to check
proxies, trust    HTTPS_PROXY and NO_PROXY; certificate authorities

It needs the standard library only, so a function's process can use it. No module here reads `os.environ`; entry points
pass the environment in. No module here follows redirects or depends on what is sent.

boto3 and fsspec, which read buckets and training data, bring clients of their own.
"""
