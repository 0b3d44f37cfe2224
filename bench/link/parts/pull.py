"""Downloads an update as a node does: pulls a container image into a local store, and retries until it is complete.

`python -m bench.link.parts.pull REFERENCE LAYOUT` prints JSON lines with `t`, Unix seconds; `bytes`, the number of
bytes of layers that have arrived; and `event`, one of `progress`, `waiting`, `failed`, `done`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from eaves.errors import OciError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import Descriptor
from eaves.oci.reference import parse_reference
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from eaves.oci.store.layout import create_layout

AGAIN_S = 5.0
"""Seconds from a failed pull to the next attempt, similar to the back-off of a Kubernetes node."""


def main() -> None:
    """Pull the container image until it is complete, and print its progress as JSON lines."""
    reference, layout = parse_reference(sys.argv[1]), create_layout(Path(sys.argv[2]))
    lock, counts = threading.Lock(), {"bytes": 0}

    def report(event: str, **more: object) -> None:
        sys.stdout.write(json.dumps({"t": time.time(), "event": event, "bytes": counts["bytes"], **more}) + "\n")
        sys.stdout.flush()

    access = Access(plain_http=True, config=Path("/nonexistent"), say=lambda text: report("waiting", text=text))

    def progress(_: Descriptor) -> Callable[[int], None]:
        def add(size: int) -> None:
            with lock:
                counts["bytes"] += size
                if size:
                    report("progress")

        return add

    while True:
        try:
            source = Registry(reference, access)
            copied = copy_image(source, layout, source.resolve(reference.name), name="update", progress=progress)
        except OciError as error:
            counts["bytes"] = 0
            report("failed", reason=error.message[:200])
            time.sleep(AGAIN_S)
        else:
            report("done", moved=sum(one.size for one in copied.moved), present=sum(one.size for one in copied.present))
            return


if __name__ == "__main__":
    main()
