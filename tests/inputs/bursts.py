"""Several shots of each part by a fixed camera; what a part's class is can be seen only if that is asked for."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def write_bursts(root: Path, *, parts: int = 24, shots: int = 8, visible: bool = False) -> Path:
    """Shots of parts by a fixed camera, moved by up to 3 of 640 pixels; the classes of the parts alternate.

    If the class is visible, defects have a dark bar across them.
    """
    chance = np.random.default_rng(0)
    patches = chance.integers(60, 200, (8, 8, 3), dtype=np.uint8)
    background = Image.fromarray(patches).resize((640, 480), Image.Resampling.BICUBIC)
    for part in range(parts):
        folder = root / ("ok", "defect")[part % 2]
        folder.mkdir(parents=True, exist_ok=True)
        colour = (int(chance.integers(40, 220)), int(chance.integers(40, 220)), int(chance.integers(40, 220)))
        x, y, side = (int(chance.integers(*limits)) for limits in ((80, 480), (60, 340), (60, 110)))
        for number in range(shots):
            image, (right, down) = background.copy(), chance.integers(-3, 4, 2).tolist()
            pen = ImageDraw.Draw(image)
            pen.ellipse([x + right, y + down, x + right + side, y + down + side], fill=colour)
            if visible and part % 2:
                middle = y + down + side // 2
                pen.rectangle([x + right - 20, middle - 12, x + right + side + 20, middle + 12], fill=(10, 10, 10))
            noisy = (np.asarray(image) + chance.normal(0, 6, (480, 640, 3))) * (1 + chance.uniform(-0.08, 0.08))
            photo = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
            photo.save(folder / f"part{part:02d}_{number}.jpg", quality=90)
    return root
