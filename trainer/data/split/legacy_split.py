"""Computes the split of runs that have no `split.jsonl`, by the rule of the versions that wrote none.

The digest of an image decided its side. Pictures that look alike formed a group, and so did pictures that are linked by
a chain of pictures that look alike; the smallest digest in the group decided the side of all its pictures. Only
conversion uses this module, and only when the result matches run.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from trainer.data.listing import Split
from trainer.data.split.near_duplicates import FingerprintIndex, ImageFingerprint


def side_before(digest: str, fraction: float, seed: int) -> Split:
    """Return the side that older versions gave to an image that looks like no other image.

    Args:
        digest: sha256 of the image's bytes, hex.
        fraction: Share of the images that is held out.
        seed: Seed of the split.
    """
    number = int.from_bytes(hashlib.sha256(f"{seed}:{digest}".encode()).digest()[:8], "big")
    return "val" if number / 2**64 < fraction else "train"


def sides_before(
    digests: Sequence[str], looks: Sequence[ImageFingerprint | None], fraction: float, seed: int
) -> list[Split]:
    """Return the side that older versions gave to each image, in the order of `digests`.

    Args:
        digests: sha256 of each image, hex.
        looks: Fingerprint of each image.
        fraction: Share of the images that is held out.
        seed: Seed of the split.
    """
    seen = [position for position, look in enumerate(looks) if look is not None]
    roots = list(range(len(looks)))
    for position, name in zip(seen, FingerprintIndex([look for look in looks if look]).alike.tolist(), strict=True):
        roots[position] = seen[name]
    smallest: dict[int, str] = {}
    for root, digest in zip(roots, digests, strict=True):
        smallest[root] = min(digest, smallest.get(root, digest))
    return [side_before(smallest[root], fraction, seed) for root in roots]
