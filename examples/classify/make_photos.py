"""Writes scikit-learn's handwritten digits as photos/DIGIT/NUMBER.png, to train on.

python make_photos.py [DIGITS NUMBER]   the first DIGITS digits, NUMBER images of each; default: 4 40
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

wanted, per_digit = map(int, sys.argv[1:]) if sys.argv[1:] else (4, 40)
digits, written = load_digits(), Counter()
for pixels, digit in zip(digits.images, digits.target, strict=True):
    if digit < wanted and written[digit] < per_digit:
        folder = Path("photos") / str(digit)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).save(folder / f"{written[digit]:03d}.png")
        written[digit] += 1
