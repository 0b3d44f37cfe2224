"""Routes of the receiver. All but `HEALTH` need a site's token or client certificate."""

EVENTS = "/v1/events"
"""POST events: a batch, or one event in binary or structured mode. The answer is 200 with a `BatchAnswer`."""
PARTS = "/v1/parts/"
"""POST a part of a body to the SHA-256 of the whole body, in hexadecimal. The query has `offset`, the part's position,
and `size`, the size of the whole body in bytes. The answer is 200 with `{"received": N}`: the receiver has N bytes from
the beginning, and the next part begins there. An empty part asks for this number."""
UPLOAD = "Eaves-Upload"
"""Header of a request to `EVENTS` whose body was sent in parts before; its value is the SHA-256 of the body. The answer
is 412 when the receiver doesn't have the body."""
SITE = "/v1/site"
"""GET `{"site": NAME}`, the site that the receiver identifies the caller as. A success shows that the connection and
the token work."""
LEDGER = "/v1/ledger"
"""GET the ledger's lines about the caller's site; the query has `after`, the number of a line, and `limit`."""
FUNCTIONS = "/v1/functions/"
"""POST an image to the function of this name in the cloud; the answer is its prediction."""
HEALTH = "/health"
"""GET 200 while the receiver works."""
