"""Client that asks a function for a prediction for each input line: `python -m bench.link.parts.ask PORT`.

The first line is the image, as hexadecimal digits. For each further line it prints the seconds of the response, or null
when there was no prediction.
"""

from __future__ import annotations

import json
import sys
import time
from http.client import HTTPConnection, HTTPException


def ask(port: int, image: bytes) -> float | None:
    """Return the seconds of a prediction; None when there was none."""
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
