"""What other tools make of our container images: a registry, skopeo, umoci, and a root that starts and predicts."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from eaves.artifact import load_golden, open_artifact
from eaves.oci.layout import open_layout
from tests.container_images.packaging import VERSION, build_base, need, run_package, this_platform
from tests.container_images.registries import LocalRegistry
from tests.container_images.unpacked import Container, run, unpack

Unpacked = tuple[Path, dict[str, Any]]
"""Root of a container image, and the config of it."""
FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "tiff": "TIFF", "gif": "GIF", "bmp": "BMP"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base") / "layout"
    build_base(folder, plain=True)
    return f"oci:{folder}:base"


@pytest.fixture(scope="module")
def pushed(registry: LocalRegistry, tiny_artifact: Path, base: str, oci_cache: Path) -> str:
    """A function at the registry, by digest; its base is in another repository there."""
    run(need("skopeo"), "copy", "--dest-tls-verify=false", base, f"docker://{registry.host}/bases/python:3")
    below = f"{registry.host}/bases/python:3"
    done = run_package(
        oci_cache, tiny_artifact, "-t", f"{registry.host}/barn/digits:v1", "--base", below, "--plain-http", "-o", "json"
    )
    name: str = json.loads(done.stdout)["name"]
    assert name.startswith(f"{registry.host}/barn/digits:v1@sha256:")
    return name


@pytest.fixture(scope="module")
def pulled(pushed: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as skopeo copies it to a layout."""
    layout = tmp_path_factory.mktemp("pulled") / "layout"
    reference = pushed.replace(":v1@", "@")
    run(
        need("skopeo"),
        "copy",
        "--src-tls-verify=false",
        f"docker://{reference}",
        f"oci:{layout}:digits",
    )
    return layout


@pytest.fixture(scope="module")
def unpacked(pulled: Path, tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    """The root of that, which no test writes to, and its config."""
    return unpack(pulled, "digits", tmp_path_factory.mktemp("unpacked") / "bundle")


@pytest.mark.long("a base with a whole Python is made")
def test_skopeo_reads_what_a_registry_got(pushed: str, tiny_artifact: Path):
    seen = json.loads(run(need("skopeo"), "inspect", "--tls-verify=false", f"docker://{pushed.replace(':v1@', '@')}"))
    artifact = open_artifact(tiny_artifact, level="full")
    assert seen["Digest"] == pushed.rpartition("@")[2]
    assert (seen["Os"], seen["Architecture"]) == ("linux", this_platform().architecture)
    labels = seen["Labels"]
    assert labels["org.opencontainers.image.title"] == "digits"
    assert labels["org.opencontainers.image.version"] == artifact.manifest.version
    assert labels["org.opencontainers.image.base.name"].endswith("/bases/python:3")
    assert labels["dev.eaves.artifact"] == f"sha256:{artifact.digest}"
    assert "dev.eaves.handler" not in labels


def test_the_bases_layers_are_taken_over_without_moving(registry: LocalRegistry, pushed: str, base: str):
    layout = open_layout(Path(base.split(":")[1]))
    manifest = json.loads(layout.read(layout.resolve("base")))
    (digest,) = (layer["digest"] for layer in manifest["layers"])
    requests = [line for line in registry.log.read_text().splitlines() if "/v2/barn/digits/blobs/uploads/" in line]
    assert any(f"mount={digest.replace(':', '%3A')}" in line and " 201 " in line for line in requests)
    assert not any("PUT" in line and digest.replace(":", "%3A") in line for line in requests)


def test_a_layout_and_a_tar_of_it_hold_the_same_as_a_registry(
    pushed: str, registry: LocalRegistry, tiny_artifact: Path, oci_cache: Path, tmp_path: Path
):
    words = (tiny_artifact, "--base", f"{registry.host}/bases/python:3", "--plain-http")
    run_package(oci_cache, *words, "-t", f"oci:{tmp_path}/layout:v1")
    run("tar", "-C", str(tmp_path / "layout"), "-cf", str(tmp_path / "f.tar"), "blobs", "index.json", "oci-layout")
    digest = pushed.rpartition("@")[2]
    for place in (f"oci-archive:{tmp_path}/f.tar", f"oci:{tmp_path}/layout:v1"):
        assert json.loads(run(need("skopeo"), "inspect", place))["Digest"] == digest
        run(need("skopeo"), "copy", place, f"oci:{tmp_path}/copied:v1")
        assert open_layout(tmp_path / "copied").resolve("v1").digest == digest


@pytest.mark.long("container images are built and read by other tools")
def test_the_root_starts_read_only_as_nobody_and_predicts(unpacked: Unpacked, tiny_artifact: Path, tmp_path: Path):
    root, config = unpacked
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["python", "-P", "-m", "functions"]
    assert config.get("Cmd") is None
    container = Container(root, config, tmp_path / "log")
    try:
        container.wait_ready()
        case = load_golden(open_artifact(tiny_artifact, level="full"))[0]
        picture = Image.open(tiny_artifact / case.file).convert("RGB")
        for kind, name in FORMATS.items():
            stream = io.BytesIO()
            picture.save(stream, name, **({"lossless": True} if name == "WEBP" else {}))
            status, body = container.request("POST", "/", stream.getvalue(), f"image/{kind}")
            assert status == 200, (kind, body)
            assert json.loads(body)["predictions"][0]["label"] == case.label or kind in ("jpeg", "gif")
        status, metrics = container.request("GET", "/metrics")
        assert status == 200
        assert b"eaves_" in metrics
    finally:
        container.stop()
    assert not list(root.rglob("__pycache__/*.tmp*"))


def test_the_runtime_is_small_and_holds_nothing_that_builds_or_tests(
    unpacked: Unpacked,
):
    root, _ = unpacked
    files = {path.relative_to(root).as_posix(): path for path in (root / "opt").rglob("*") if path.is_file()}
    assert sum(path.stat().st_size for path in files.values()) < 150e6
    tops = {name.split("/")[2].partition("-")[0].lower() for name in files}
    assert tops.isdisjoint({"pip", "setuptools", "wheel", "tensorflow", "keras", "onnx", "tf2onnx", "kubernetes"})
    parts = {part for name in files if ".dist-info/" not in name for part in name.split("/")[2:]}
    assert parts.isdisjoint({"tests", "test", "testing", "conftest.py", "bin", "include"})
    assert {path.suffix for path in files.values()}.isdisjoint({".c", ".h", ".a", ".o", ".pyx"})
    assert {name.split("/")[3] for name in files if name.startswith("opt/code/eaves/")}.isdisjoint(
        {"cli", "local", "sources", "oci"}
    )
    licences = [name for name in files if ".dist-info/" in name and "licen" in name.lower()]
    assert len(licences) >= 15
    assert any(name.endswith("ThirdPartyNotices.txt") for name in files)
    sources = {name for name in files if name.endswith(".py")}
    compiled = {name for name in files if name.endswith(".pyc")}
    assert len(compiled) == len(sources)


def test_a_start_compiles_no_module_of_the_standard_library(unpacked: Unpacked, tiny_artifact: Path, tmp_path: Path):
    """Python opens a module's source only where it finds no byte code."""
    root, config = unpacked
    trace = tmp_path / "trace"
    container = Container(
        root, config, tmp_path / "log", prefix=(need("strace"), "-f", "-e", "trace=openat", "-o", str(trace))
    )
    try:
        container.wait_ready()
        image = (tiny_artifact / load_golden(open_artifact(tiny_artifact))[0].file).read_bytes()
        assert container.request("POST", "/", image, "image/png")[0] == 200
    finally:
        container.stop()
    opened = re.findall(rf'"(\S*/lib/python{VERSION}/\S+)", \S+ = \d', trace.read_text())
    assert {Path(path).suffix for path in opened} >= {".pyc"}
    assert [path for path in opened if path.endswith(".py")] == []
