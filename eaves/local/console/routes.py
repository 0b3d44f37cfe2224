"""Routes of the control socket for the console's process."""

from __future__ import annotations

from typing import Protocol

from flask import Blueprint, Response, request

from eaves.history.recent_images import RecentImages

IMAGES = "/images"


class ConsoleView(Protocol):
    """The part of `eaves.local.console.local_console.LocalConsole` that routes need."""

    @property
    def images(self) -> RecentImages:
        """The newest images."""

    def find_redirect(self, *, peer: str, asked: str) -> str:
        """Return where a browser that opened the broker's address finds the console; empty when there is none."""


def build_console_routes(console: ConsoleView) -> Blueprint:
    """Build the routes, for the control socket only.

        GET /images   the encoded image of an event; query: source and id, exactly as the event has them

    Args:
        console: The console's recent images.
    """
    blueprint = Blueprint("console", __name__)

    @blueprint.get(IMAGES)
    def send_image() -> Response:
        event = console.images.find(request.args.get("source", ""), request.args.get("id", ""))
        if event is None:
            return Response(status=404)
        return Response(event.data, content_type="application/octet-stream")  # the sender's own type proves nothing

    return blueprint


def render_image_metrics(images: RecentImages) -> str:
    """Render the memory of the held images as Prometheus text."""
    return (
        "# HELP eaves_console_image_bytes Memory of the newest images that are held for the console.\n"
        "# TYPE eaves_console_image_bytes gauge\n"
        f"eaves_console_image_bytes {images.held_bytes}\n"
        "# HELP eaves_console_images Images that are held for the console.\n"
        "# TYPE eaves_console_images gauge\n"
        f"eaves_console_images {len(images)}\n"
    )
