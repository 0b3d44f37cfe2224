"""Pages for people: one HTML file without scripts that asks nothing of any network."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from eaves.base.files import write_atomically
from eaves.errors import ImageError
from eaves.images.pixels import decode

THUMBNAIL_PIXELS = 96


def build_page(template: Path, **values: Any) -> str:
    """The page's HTML.

    Args:
        template: It extends `layout.html.j2`, which lies here; every value is escaped, a missing one is an error.
        values: What the template names.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(values)


def write_page(path: Path, html: str) -> None:
    """Write it; a file name in it may hold bytes that are no text: they are shown as escapes."""
    content = html.encode(errors="backslashreplace")
    write_atomically(path, content, durability="none", mode=None, sole_writer=True)


def build_thumbnail(file: Path) -> str | None:
    """A JPEG as a data URI; None when the file is gone or is no picture."""
    try:
        pixels = decode(file.read_bytes(), at_least=(THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    except (OSError, ImageError):
        return None
    picture, stream = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    picture.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
