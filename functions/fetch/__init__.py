"""Fetches data that an event refers to by `dataref`, with protection against server-side request forgery.

dataref        fetches the data
url_policy     says which URLs and addresses are allowed; pure rules
proxy_tunnel   opens a tunnel through a proxy to an address that was checked here
"""
