"""Draws 20 discs, 20 squares and 20 stripes in random colours, 32x32 pixels, as photos/SHAPE/NUMBER.png."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image, ImageDraw

SHAPES, PER_SHAPE = ("disc", "square", "stripes"), 20


def draw(shape: str, chance: random.Random) -> Image.Image:
    """Draw one shape at a random place on a grey background, and return the image."""
    image = Image.new("RGB", (32, 32), (chance.randint(90, 130),) * 3)
    pen = ImageDraw.Draw(image)
    colour = tuple(chance.choice((0, 255)) for _ in range(3))
    x, y, size = chance.randint(11, 20), chance.randint(11, 20), chance.randint(7, 10)
    if shape == "disc":
        pen.ellipse([x - size, y - size, x + size, y + size], fill=colour)
    elif shape == "square":
        pen.rectangle([x - size, y - size, x + size, y + size], outline=colour, width=3)
    else:
        for line in range(y - size, y + size, 4):
            pen.line([x - size, line, x + size, line], fill=colour, width=2)
    return image


for shape in SHAPES:
    folder = Path("photos") / shape
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(PER_SHAPE):
        draw(shape, random.Random(f"{shape} {number}")).save(folder / f"{number:03d}.png")
