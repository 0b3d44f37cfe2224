"""The receiver's routes. All but `HEALTH` need a site's token or client certificate."""

EVENTS = "/v1/events"
"""POST events: a batch, or one event in binary or structured mode. 200 with a `BatchAnswer`."""
PARTS = "/v1/parts/"
"""POST a part of a body to the SHA-256 of the whole body, in hexadecimal; query: `offset`, where the part begins, and
`size`, the bytes of the whole. 200 with `{"received": N}`: so many bytes from the beginning are there, and the next
part begins there. An empty part asks."""
UPLOAD = "Eaves-Upload"
"""Header of a request to `EVENTS` whose body was sent in parts before: its SHA-256. 412: it isn't there."""
SITE = "/v1/site"
"""GET `{"site": NAME}`: whom the receiver takes the caller for. Shows that the way and the token are good."""
LEDGER = "/v1/ledger"
"""GET the ids that were received from the caller's site as JSON lines; query: `after`, a line's number, and `limit`."""
FUNCTIONS = "/v1/functions/"
"""POST an image to the function of this name in the cloud; its prediction is the answer."""
HEALTH = "/health"
"""GET 200 while the receiver works."""
