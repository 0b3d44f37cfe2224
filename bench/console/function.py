"""Serves a function that answers every image with the same prediction at once: `python -m bench.console.function`.

It is `bench.local.function` with a reply, so that the console has predictions to show.
"""

from __future__ import annotations

import asyncio
import json
import time

from bench.local import function
from eaves.events import IMAGE_CLASSIFIED

REPLY = json.dumps(
    {
        "predictions": [{"label": "rose", "score": 0.97}, {"label": "tulip", "score": 0.02}],
        "model": "flowers",
        "version": "1",
        "artifact": "sha256:" + "0" * 64,
        "timings_ms": {"decode": 4.1, "preprocess": 1.5, "infer": 21.8},
    }
).encode()
HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\nce-specversion: 1.0\r\n"
    "ce-id: {id}-reply\r\nce-source: /eaves/bench/flowers\r\nce-type: {type}\r\nce-causeid: {id}\r\n"
    "ce-causesource: {source}\r\nce-subject: {subject}\r\nce-label: rose\r\nce-confidence: high\r\n"
    "ce-model: flowers\r\nce-modelversion: 1\r\n\r\n"
)


class Connection(function.Connection):
    """A client's connection, whose events are answered with a prediction."""

    def _answer(self) -> None:
        if not self._head.startswith(b"POST"):
            super()._answer()
            return
        fields = dict(line.split(": ", 1) for line in self._head.decode().split("\r\n")[1:])
        named = {name.lower(): value for name, value in fields.items()}
        function.received.append((named["ce-id"], time.monotonic()))
        head = HEAD.format(
            size=len(REPLY),
            id=named["ce-id"],
            type=IMAGE_CLASSIFIED,
            source=named["ce-source"],
            subject=named.get("ce-subject", named["ce-id"]),
        )
        self._transport.write(head.encode() + REPLY)


if __name__ == "__main__":
    asyncio.run(function.serve(Connection))
