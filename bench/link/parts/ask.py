"""Requests a prediction from a function for each line of standard input.

`python -m bench.link.parts.ask PORT` reads the image from the first line, as hexadecimal digits. For each further line
it sends the image to the function on PORT and prints the seconds until the response, or null when there was no
prediction.
"""

from __future__ import annotations

import json
import sys
import time
from http.client import HTTPConnection, HTTPException


def ask(port: int, image: bytes) -> float | None:
    """Send the image to the function on `port`, and return the seconds until its prediction; None: no prediction."""
    start = time.monotonic()
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/", image, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        response.read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return round(time.monotonic() - start, 4) if response.status == 200 else None


if __name__ == "__main__":
    picture = bytes.fromhex(sys.stdin.readline())
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(ask(int(sys.argv[1]), picture)) + "\n")
        sys.stdout.flush()
