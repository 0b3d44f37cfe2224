"""A cache for layers that take long to make; the key of a layer is the digest of everything that it is made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from eaves.errors import OciError
from eaves.oci.descriptor import parse_descriptor
from eaves.oci.layers import layer as rules
from eaves.oci.layers.layer import Layer, compressor
from eaves.oci.store.content_store import verified
from eaves.oci.store.layout import Layout


def kept_layer(cache: Layout, parts: tuple[str | bytes, ...], make: Callable[[], Layer]) -> Layer:
    """Return a layer from the cache, or make it and add it.

    Args:
        cache: Layout with the cached layers, which also has a file for each key.
        parts: Everything that the layer is made from, except the tar format and the compressor, which are added here.
        make: Function that makes the layer and writes it to the cache.

    Raises:
        OciError: When the layer can't be made.
    """
    key = _key(compressor(), Path(str(rules.__file__)).read_bytes(), *parts)
    found = _find(cache, key)
    if found is not None:
        return found
    made = make()
    values = {"descriptor": made.descriptor.to_dict(), "diff_id": made.diff_id, "title": made.title}
    cache.write_file(f"{key}.json", json.dumps(values).encode())
    return made


def _key(*parts: str | bytes) -> str:
    seen = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        seen.update(len(content).to_bytes(8, "big") + content)
    return seen.hexdigest()


def _find(cache: Layout, key: str) -> Layer | None:
    """Return the cached layer for a key; None when there is none or when it is damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, OciError):
        values = json.loads((cache.path / f"{key}.json").read_bytes())
        found = Layer(
            descriptor=parse_descriptor(values["descriptor"]),
            diff_id=str(values["diff_id"]),
            title=str(values["title"]),
        )
        with cache.open(found.descriptor) as stream:
            for _ in verified(stream, found.descriptor):
                pass
        return found
    return None
