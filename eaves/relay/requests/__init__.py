"""Requests from the relay to the receiver.

sender           sends entries in one request, or one part of a large entry
pack_ahead       packs the next request while one is in progress
settlement       releases, gives up or keeps entries according to a request's result
upload           progress of a large body that is sent in parts
request_failure  what a failed request says about the link or about the events
traffic          sizes, rates and results of the requests
batch_size       size of the next request
throughput       measured speed of the link
"""
