"""Fetches data that an event refers to by `dataref`, with protection against server-side request forgery.

dataref         fetches the data, and says what an answer without them means
url_policy      says which URLs and addresses are allowed; pure rules
proxy_tunnel    opens a tunnel through a proxy to an address that was checked here
request_signer  signs requests for objects of private buckets
"""
