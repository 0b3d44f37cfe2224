"""Requests from the relay to the receiver.

sender           sends entries in one request, or one part of a large entry
pack_ahead       packs the next request while one is in progress
settlement       releases entries, keeps them or makes them dead letters, according to a request's result
upload           progress of a large body that is sent in parts
request_failure  whether the link or the events are at fault when a request fails
traffic          sizes, rates and results of the requests
batch_size       size of the next request
throughput       measured speed of the link
"""
