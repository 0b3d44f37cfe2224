"""Writes 40 of scikit-learn's handwritten digits for each of 0 to 3, as photos/DIGIT/NUMBER.png, to train on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

DIGITS, PER_DIGIT = 4, 40

digits, written = load_digits(), Counter()
for pixels, digit in zip(digits.images, digits.target, strict=True):
    if digit < DIGITS and written[digit] < PER_DIGIT:
        folder = Path("photos") / str(digit)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).save(folder / f"{written[digit]:03d}.png")
        written[digit] += 1
