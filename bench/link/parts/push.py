"""Pushes a container image to a registry: `python -m bench.link.parts.push LAYOUT REFERENCE`.

LAYOUT is an OCI image layout (a directory with container images); its entry `new` is pushed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from eaves.oci.copy import copy_image
from eaves.oci.reference import parse_reference
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from eaves.oci.store.layout import open_layout

if __name__ == "__main__":
    layout, reference = open_layout(Path(sys.argv[1])), parse_reference(sys.argv[2])
    target = Registry(reference, Access(plain_http=True, config=Path("/nonexistent")))
    copy_image(layout, target, layout.resolve("new"), name=reference.tag)
