"""Shows predictions in a browser: a trigger sends them to this program, which keeps the newest ones in memory.

    python display.py --port 9000

It listens on loopback only, and its page has no script. A browser on the same machine opens http://127.0.0.1:9000/.
"""

from __future__ import annotations

import argparse
import html
import json
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from eaves.errors import EventError
from eaves.events import Event, decode
from eaves.origin import find_foreign

KEPT = 20
MAX_BYTES = 1_000_000
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width"><title>Predictions</title><style>
body {{ font: 1.2rem sans-serif; margin: 2rem }} .label {{ font-size: 5rem; font-weight: bold }}
td {{ padding: 0.2rem 1.5rem 0.2rem 0 }}</style></head><body>{body}</body></html>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The values of a prediction event that the page shows."""

    time: str
    subject: str
    label: str
    score: str


PREDICTIONS: deque[Prediction] = deque(maxlen=KEPT)


def read_prediction(event: Event) -> Prediction | None:
    """Return the best label of a prediction event; None for other events and for a prediction without labels."""
    try:
        best = json.loads(event.data)["predictions"][0]
        label, score = str(best["label"]), f"{float(best['score']):.0%}"
        moment = f"{datetime.fromisoformat(event.time).astimezone():%H:%M:%S}" if event.time else ""
    except (ValueError, LookupError, TypeError):
        return None
    return Prediction(time=moment, subject=event.subject or "", label=label, score=score)


def render() -> str:
    """Return the HTML page: the newest prediction in large letters, and a table of the last 20 predictions."""
    shown = list(PREDICTIONS)
    if not shown:
        return PAGE.format(body="<p>No predictions yet.</p>")
    rows = "".join(
        f"<tr><td>{html.escape(one.time)}<td>{html.escape(one.label)}<td>{one.score}<td>{html.escape(one.subject)}"
        for one in shown
    )
    newest = f'<p class="label">{html.escape(shown[0].label)}</p><p>confidence {shown[0].score}</p>'
    return PAGE.format(body=f"{newest}<table>{rows}</table>")


class Display(BaseHTTPRequestHandler):
    """HTTP server of the display: `POST /` takes an event, `GET /` answers with the page."""

    timeout = 30

    def do_POST(self) -> None:
        """Take an event, and keep it if it is a prediction; answer 204, so that the broker doesn't send it again."""
        size = int(self.headers.get("Content-Length") or 0)
        if not self._is_allowed() or not 0 < size <= MAX_BYTES:
            self._answer(403 if size else 400)
            return
        try:
            prediction = read_prediction(decode(dict(self.headers.items()), self.rfile.read(size)))
        except EventError:
            self._answer(400)
            return
        if prediction is not None:
            PREDICTIONS.appendleft(prediction)
        self._answer(204)

    def do_GET(self) -> None:
        """Answer with the page."""
        self._answer(200 if self._is_allowed() else 403, render() if self._is_allowed() else "")

    def _is_allowed(self) -> bool:
        """Return whether the request comes from a program on this machine, or from a page that this machine serves."""
        return not find_foreign(self.headers.get("Host", ""), self.headers.get("Origin"))

    def _answer(self, status: int, page: str = "") -> None:
        body = page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing, instead of a log line for each request."""


def main() -> None:
    """Serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Show predictions in a browser.")
    parser.add_argument("--port", type=int, default=9000, help="port on loopback (default: 9000)")
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Display)
    print(f"open http://127.0.0.1:{server.server_port}/ in a browser; Ctrl-C stops", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
