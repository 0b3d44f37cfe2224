"""The byte code of the standard library that a container image gets covers what a function's process imports."""

from __future__ import annotations

import io
import re
import sys
import sysconfig
from pathlib import Path

from PIL import Image

from eaves.events import Event, encode_binary
from eaves.oci.import_graph import find_named_modules
from eaves.oci.layers.standard_library import find_modules, load_standard_library
from eaves.oci.runtime import code_files
from tests.processes.function import Start

FROZEN = {"importlib._bootstrap", "importlib._bootstrap_external", "sitecustomize"}
"""Modules that are part of the interpreter, and the one that a distribution may add to it."""


def test_every_module_that_a_function_imports_is_compiled(start: Start, image: bytes) -> None:
    function = start(PYTHONPROFILEIMPORTTIME="1")
    function.wait_ready()
    photo = io.BytesIO()
    Image.new("RGB", (64, 64)).save(photo, "JPEG")
    assert function.request("POST", "/", photo.getvalue(), Content_Type="image/jpeg")[0] == 200
    assert function.request("POST", "/", image, Content_Type="image/png")[0] == 200
    event = Event(id="1", source="/eaves/barn/camera", type="x", datacontenttype="image/png", data=image)
    headers, body = encode_binary(event)
    assert function.request("POST", "/", body, **headers)[0] == 200
    assert function.request("GET", "/metrics")[0] == 200
    function.stop()
    imported = set(re.findall(r"import time: +\d+ \| +\d+ \| +([\w.]+)", function.log))
    assert {"flask.app", "numpy._core", "json.decoder"} <= imported
    library = load_standard_library()
    packages: dict[str, bytes] = {}
    for folder in {Path(entry) for entry in sys.path if entry.endswith("site-packages")}:
        for path in folder.glob("*"):
            if path.name in {name.partition(".")[0] for name in imported}:
                packages |= {one.relative_to(folder).as_posix(): one.read_bytes() for one in path.rglob("*.py")}
    roots = {name for file in code_files() for name in find_named_modules(Path(str(file.content)).read_bytes())}
    compiled = find_modules(library, roots, packages)
    names = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in compiled}
    needed = {
        name
        for name in imported - FROZEN
        if f"{name.replace('.', '/')}.py" in library.sources
        or f"{name.replace('.', '/')}/__init__.py" in library.sources
    }
    assert needed - names == set()
    assert len(names) < 1.3 * len(needed), "few that are never imported"
    assert sysconfig.get_path("stdlib").endswith(library.root)
