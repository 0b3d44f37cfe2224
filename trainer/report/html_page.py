"""Builds HTML pages for people: one file without scripts or requests to a network."""

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
    """Return the HTML of a page.

    Args:
        template: Path of the template, which extends `layout.html.j2` beside this module; every value is escaped, and a
            missing value is an error.
        values: Values that the template names.
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
    """Write a page; bytes of a file name that are not valid text are written as escapes."""
    content = html.encode(errors="backslashreplace")
    write_atomically(path, content, durability="none", mode=None, sole_writer=True)


def build_thumbnail(file: Path) -> str | None:
    """Return a thumbnail as the data URI of a JPEG; None when the file is missing or no picture."""
    try:
        pixels = decode(file.read_bytes(), at_least=(THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    except (OSError, ImageError):
        return None
    picture, stream = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    picture.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
