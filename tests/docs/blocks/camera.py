"""A camera with a snapshot address: another drawn flower for each request."""

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from tests.docs.blocks.preparation import PETALS, draw_flower
from tests.fakes.http.camera import Asked, open_camera, respond


@contextmanager
def serve_snapshots() -> Iterator[str]:
    """Run a camera; the URL of its snapshot."""
    numbers = count()

    def answer(_: Asked) -> bytes:
        number, picture = next(numbers), io.BytesIO()
        draw_flower([*PETALS.values()][number % len(PETALS)], random.Random(number)).save(picture, "JPEG")
        return respond(body=picture.getvalue(), Content_Type="image/jpeg")

    with open_camera(answer) as camera:
        yield f"{camera.url}/snapshot.jpg"
