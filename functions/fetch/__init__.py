"""Data that an event only refers to (`dataref`), fetched so that no event can make us reach elsewhere.

dataref        fetches it
url_policy     which URLs and addresses are allowed; pure
proxy_tunnel   a tunnel through a proxy to an address that was checked here
"""
