"""The split of runs that have no `split.jsonl`, as it was computed before these were kept.

The digest of an image decided its side, and pictures that look alike were on the side of the smallest digest among them
and those that look like them in turn. Only conversion uses it, and only when the result is the one in run.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from trainer.data.listing import Split
from trainer.data.split.near_duplicates import ImageFingerprint, find_connected, find_similar


def side_before(digest: str, fraction: float, seed: int) -> Split:
    """The side of an image that looks like no other.

    Args:
        digest: sha256 of its bytes, hex.
        fraction: Share held out.
        seed: Another seed, another split.
    """
    number = int.from_bytes(hashlib.sha256(f"{seed}:{digest}".encode()).digest()[:8], "big")
    return "val" if number / 2**64 < fraction else "train"


def sides_before(
    digests: Sequence[str], looks: Sequence[ImageFingerprint | None], fraction: float, seed: int
) -> list[Split]:
    """The side of each image, in their order.

    Args:
        digests: sha256 of each image, hex.
        looks: What each looks like.
        fraction: Share held out.
        seed: Another seed, another split.
    """
    alike = (
        pair for first, second in find_similar(looks) for pair in zip(first.tolist(), second.tolist(), strict=True)
    )
    roots = find_connected(len(digests), alike)
    smallest: dict[int, str] = {}
    for root, digest in zip(roots, digests, strict=True):
        smallest[root] = min(digest, smallest.get(root, digest))
    return [side_before(smallest[root], fraction, seed) for root in roots]
