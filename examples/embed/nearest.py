"""Prints for each image the one that is most similar to it: `python nearest.py ANSWERS`.

ANSWERS is a file with the output of `eaves send IMAGES -o json`; the function must compute feature vectors
(`embedding`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

answers = json.loads(Path(sys.argv[1]).read_text())
names = [answer["image"] for answer in answers]
vectors = np.array([answer["event"]["data"]["embedding"] for answer in answers])
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
cosine = vectors @ vectors.T
np.fill_diagonal(cosine, -1)
for row, name in zip(cosine, names, strict=True):
    print(f"{name} is like {names[row.argmax()]} ({row.max():.3f})")
