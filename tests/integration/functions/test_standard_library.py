"""The byte code of the standard library that a container image gets covers what a function's process imports."""

from __future__ import annotations

import io
import re
import sysconfig
from pathlib import Path

from PIL import Image

from eaves.events import Event, encode_binary
from eaves.oci.layers.bytecode import load_standard_library
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
    assert {"waitress.task", "numpy._core", "json.decoder"} <= imported
    folder = Path(sysconfig.get_path("stdlib"))
    names = [Path("/", path).relative_to(folder.resolve()).as_posix() for path in load_standard_library()]
    compiled = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names}
    sources = {name: folder / name.replace(".", "/") for name in imported - FROZEN}
    needed = {
        name for name, path in sources.items() if path.with_suffix(".py").exists() or (path / "__init__.py").exists()
    }
    assert "json.decoder" in needed
    assert needed - compiled == set()
