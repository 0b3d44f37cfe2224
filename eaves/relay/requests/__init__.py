"""One request of the relay to the receiver.

sender           entries at once, or a part of a large one
pack_ahead       the next request, packed while one is under way
settlement       entries released, given up or kept, by what a request came to
upload           a large body that is sent in parts
request_failure  what a failed request says about the link, or about what was sent
traffic          what was sent and what came of it
batch_size       how much goes into one request
throughput       how fast the link was
"""
