"""A console with pages of each kind, for tests of what its guard lets through."""

from flask import Blueprint, Flask, request

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext

PASSWORD = "three random words"
HTTPS = "https://line-3.example:8481"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def build_pages() -> Blueprint:
    """Build pages of each kind, as other modules have them."""
    pages = Blueprint("sample", __name__)

    @pages.post("/change")
    def change() -> str:
        return f"changed {request.form.get('value', '')[:10]}"

    @pages.get("/poll")
    def poll() -> str:
        return "news"

    @pages.get("/foreign.svg")
    def foreign() -> tuple[bytes, dict[str, str]]:
        return SVG, {"Content-Type": "image/svg+xml", "Cache-Control": "private, max-age=60"}

    @pages.get("/fails")
    def fails() -> str:
        raise RuntimeError("a bug")

    return pages


def build_app(context: ConsoleContext) -> Flask:
    app = create_app(context)
    app.register_blueprint(build_pages())
    return app
