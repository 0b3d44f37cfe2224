"""Shows predictions in a browser: a trigger sends them to this program, which keeps the newest ones in memory.

    python display.py --port 9000

It listens on loopback only, and its page has no script. A browser on the same machine opens http://127.0.0.1:9000/.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from datetime import datetime

from flask import Flask, abort, render_template_string, request
from werkzeug.serving import make_server

from eaves.errors import EventError
from eaves.events import decode
from eaves.origin import find_foreign

KEPT = 20
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width"><title>Predictions</title><style>
body { font: 1.2rem sans-serif; margin: 2rem } .label { font-size: 5rem; font-weight: bold }
td { padding: 0.2rem 1.5rem 0.2rem 0 }</style></head><body>
{% if not shown %}<p>No predictions yet.</p>{% else %}
<p class="label">{{ shown[0].label }}</p><p>confidence {{ shown[0].score }}</p><table>
{% for one in shown %}<tr><td>{{ one.time }}<td>{{ one.label }}<td>{{ one.score }}<td>{{ one.subject }}{% endfor %}
</table>{% endif %}</body></html>"""
"""The newest prediction in large letters, and a table of the last ones."""

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1_000_000
PREDICTIONS: deque[dict[str, str]] = deque(maxlen=KEPT)


@app.before_request
def refuse_foreign_pages() -> None:
    """Refuse requests that neither a program on this machine nor a page that this machine serves has sent."""
    if find_foreign(request.headers.get("Host", ""), request.headers.get("Origin")):
        abort(403)


@app.post("/")
def take() -> tuple[str, int]:
    """Take an event, and keep it if it is a prediction; answer 204, so that the broker doesn't send it again."""
    try:
        event = decode(dict(request.headers), request.get_data())
        best = json.loads(event.data)["predictions"][0]
        time = f"{datetime.fromisoformat(event.time).astimezone():%H:%M:%S}" if event.time else ""
        shown = {"time": time, "label": str(best["label"]), "score": f"{float(best['score']):.0%}"}
    except EventError:
        return "This is no event.\n", 400
    except (ValueError, LookupError, TypeError):
        return "", 204  # another event, or a prediction without labels
    PREDICTIONS.appendleft({**shown, "subject": event.subject or ""})
    return "", 204


@app.get("/")
def show() -> str:
    """Answer with the page."""
    return render_template_string(PAGE, shown=list(PREDICTIONS))


def main() -> None:
    """Serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Show predictions in a browser.")
    parser.add_argument("--port", type=int, default=9000, help="port on loopback (default: 9000)")
    server = make_server("127.0.0.1", parser.parse_args().port, app, threaded=True)
    print(f"open http://127.0.0.1:{server.server_port}/ in a browser; Ctrl-C stops", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
