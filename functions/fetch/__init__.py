"""Fetches data that an event refers to by `dataref`, with protection against server-side request forgery.

dataref         fetches the data, directly or through a proxy, and says what an answer without them means
url_policy      says which URLs and addresses are allowed; pure rules
request_signer  signs requests for objects of private buckets
"""
