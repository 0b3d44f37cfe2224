"""Photos of one part under a fixed camera, drawn: a machined disc that is ok, scratched or dented.

Every photo has the same background and the same part. The part moves a few pixels, turns, and is lit a little
differently; the sensor adds noise. Only the defect, a small share of the picture, tells the classes apart.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

CLASSES = ("ok", "scratch", "dent")
SIDE = 128
"""Side of a photo, pixels."""

Photo = npt.NDArray[np.uint8]


def draw_part(kind: str, rng: np.random.Generator, *, side: int = SIDE) -> Photo:
    """Draw one photo.

    Args:
        kind: One of `CLASSES`.
        rng: Decides the position, the angle, the light, the noise and where the defect is.
        side: Side of the photo, pixels.

    Returns:
        photo: (side, side, 3) uint8, RGB.
    """
    scale = 2  # drawn larger and reduced, so that edges are smooth
    size = side * scale
    canvas = _draw_background(size)
    pen = ImageDraw.Draw(canvas)
    centre = size / 2 + rng.uniform(-0.02, 0.02, 2) * size
    radius, turn = 0.36 * size, rng.uniform(-0.15, 0.15)
    _draw_disc(pen, centre, radius, (168, 170, 174))
    for hole in range(3):
        angle = turn + hole * 2 * np.pi / 3
        _draw_disc(pen, centre + 0.62 * radius * np.array([np.cos(angle), np.sin(angle)]), 0.1 * radius, (52, 52, 58))
    _draw_disc(pen, centre, 0.2 * radius, (60, 60, 66))
    if kind != "ok":
        _draw_defect(pen, kind, centre, radius, turn, rng)
    pixels = np.asarray(canvas.resize((side, side), Image.Resampling.BOX), dtype=np.float64)
    lit = pixels * rng.uniform(0.8, 1.2) * _light(side, rng)
    noisy = lit + rng.normal(0, 6, pixels.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_parts(
    folder: Path, each: int, *, seed: int = 0, classes: tuple[str, ...] = CLASSES, side: int = SIDE
) -> Path:
    """Write photos as PNG files, in one subfolder per class.

    Args:
        folder: It is made when it isn't there.
        each: Number of photos of every class.
        seed: Another seed, other photos.
        classes: Those of `CLASSES` that are written.
        side: Side of a photo, pixels.

    Returns:
        folder: The given folder.
    """
    for kind in classes:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng((seed, CLASSES.index(kind)))
        for number in range(each):
            Image.fromarray(draw_part(kind, rng, side=side)).save(folder / kind / f"{number:04d}.png")
    return folder


def _draw_background(size: int) -> Image.Image:
    """A conveyor: dark, with stripes, the same in every photo."""
    image = Image.new("RGB", (size, size), (96, 92, 84))
    pen = ImageDraw.Draw(image)
    for stripe in range(0, size, size // 8):
        pen.rectangle((stripe, 0, stripe + size // 16, size), fill=(86, 82, 76))
    pen.rectangle((0, 0, size, size // 20), fill=(40, 44, 60))
    return image


def _draw_disc(pen: ImageDraw.ImageDraw, centre: npt.NDArray[np.float64], radius: float, fill: object) -> None:
    (x, y) = centre
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)  # type: ignore[arg-type]


def _draw_defect(
    pen: ImageDraw.ImageDraw,
    kind: str,
    centre: npt.NDArray[np.float64],
    radius: float,
    turn: float,
    rng: np.random.Generator,
) -> None:
    """A scratch is thin, long and bright; a dent is round and dark on one side. Both lie on the metal."""
    angle = turn + np.pi / 3 + rng.integers(3) * 2 * np.pi / 3 + rng.uniform(-0.35, 0.35)
    place = centre + rng.uniform(0.5, 0.75) * radius * np.array([np.cos(angle), np.sin(angle)])
    if kind == "scratch":
        direction, half = rng.uniform(0, np.pi), rng.uniform(0.3, 0.45) * radius
        reach = half * np.array([np.cos(direction), np.sin(direction)])
        pen.line([*(place - reach), *(place + reach)], fill=(250, 250, 252), width=int(0.1 * radius))
        return
    size = rng.uniform(0.18, 0.26) * radius
    _draw_disc(pen, place, size, (70, 70, 76))
    _draw_disc(pen, place + 0.35 * size, 0.5 * size, (150, 152, 156))


def _light(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(side, side, 1) factors: brighter towards one side."""
    slope = rng.uniform(-0.1, 0.1, 2)
    across = np.linspace(-1, 1, side)
    factors = 1 + slope[0] * across[np.newaxis, :] + slope[1] * across[:, np.newaxis]
    return np.asarray(factors[..., np.newaxis])
