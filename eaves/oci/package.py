"""Building of a function's container image from an artifact and a base image, and extraction of the artifact from one.

Equal inputs give equal bytes on any machine.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import eaves
from eaves.artifact import Artifact, open_artifact
from eaves.artifact.golden import INDEX as GOLDEN_INDEX
from eaves.artifact.store import HANDLER, MANIFEST, MODEL
from eaves.base.disk_errors import disk_errors
from eaves.errors import OciError
from eaves.oci.copy import Overlay
from eaves.oci.descriptor import Descriptor, ImagePlatform
from eaves.oci.layers.image import Image, build_image, build_index, load_images, pick_image
from eaves.oci.layers.layer import ALTERED_HINT, TITLE, Layer, LayerFile, kept_layer, read_layer, write_layer
from eaves.oci.layout import ContentSource, Layout
from eaves.oci.runtime import ENVIRONMENT, OLDEST, RuntimeTarget, build_layers, build_library_layer, check_glibc

ROOT = "artifact"
"""Directory of the artifact in a container, relative to the root directory."""
BACKBONE = "weights/backbone.bin"
TITLES = (BACKBONE, "graphs", "golden inputs", "head, labels, manifest", HANDLER)
"""Titles of the layers of an artifact, from below up."""
USER = "65532:65532"
"""Numeric user and group, because Kubernetes can check runAsNonRoot only for a number."""
PORT = 8080
ENTRYPOINT = ("python", "-P", "-m", "functions")
HANDLER_LABEL = "dev.eaves.handler"
ARTIFACT_LABEL, TASK_LABEL = "dev.eaves.artifact", "dev.eaves.task"
CLASSES_LABEL = "dev.eaves.classes"
"""Label of a container image with the labels that its model predicts, as a JSON list."""
MAX_CLASSES = 1 << 16
"""Maximum characters of that list; a longer one is left out, because a deploy stores it in a ConfigMap."""
KEPT_BYTES = 1 << 20
"""Minimum size of a part of an artifact, bytes, for which the layer is kept in the cache."""
_VERSION = r"(?P<python>(\d+)\.(\d+))(?:\.\d+)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The base image on which the layers of a function are put.

    Attributes:
        source: Source that has the base image.
        descriptor: Descriptor of the base image's manifest or index.
        name: Reference of the base image, for labels; empty for a layout on a local disk.
        python: Version of the base image's Python, such as `3.13`; empty to use the version in its variable
            PYTHON_VERSION.
    """

    source: ContentSource
    descriptor: Descriptor
    name: str
    python: str = ""


def package(
    artifact: Artifact,
    base: Base,
    layout: Layout,
    cache: Layout,
    *,
    platforms: Sequence[ImagePlatform],
    allow_handler: bool = False,
    say: Callable[[str], object] = lambda text: None,
) -> tuple[Descriptor, ContentSource]:
    """Build the container image of a function.

    Args:
        artifact: Opened artifact; the caller has run its golden images.
        base: Container image with a plain Python.
        layout: Layout that receives the artifact's layers, configs and manifests.
        cache: Layout that keeps the runtime's layers and backbones for the next build.
        platforms: Platforms to build for; several make one index.
        allow_handler: Whether an artifact's handler.py may be included.
        say: Function that is called with each line of progress.

    Returns:
        Descriptor of the manifest, or of the index over several platforms, and a source with all content of it.

    Raises:
        OciError: When the base isn't suitable, wheels can't be fetched, or the disk is full.
    """
    parts = split_parts(artifact, allow_handler=allow_handler)
    images = [pick_image(base.source, base.descriptor, platform) for platform in platforms]
    runtimes = [_runtime_of(image, base) for image in images]
    above = [_write_part(artifact, title, paths, layout, cache) for title, paths in parts.items()]
    labels = build_labels(artifact, base)
    run = {
        "Entrypoint": list(ENTRYPOINT),
        "Env": {**ENVIRONMENT, "EAVES_ARTIFACT_DIGEST": artifact.digest},
        "User": USER,
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "Labels": labels,
    }
    made = []
    for image, target in zip(images, runtimes, strict=True):
        runtime = build_layers(target, cache, say)
        if (library := build_library_layer(base.source, image, target, cache, say)) is not None:
            check_glibc(image.platform, runtime[0], library)
            runtime.insert(0, library)
        made.append(build_image(layout, image, [*runtime, *above], run))
    descriptor = replace(made[0], platform=None) if len(made) == 1 else build_index(layout, made, labels)
    return descriptor, Overlay([layout, cache], base.source)


def build_labels(artifact: Artifact, base: Base) -> dict[str, str]:
    """Return the labels of a function's container image. Source: OCI image-spec, annotations.md."""
    manifest = artifact.manifest
    labels = {
        TITLE: manifest.name,
        "org.opencontainers.image.version": manifest.version,
        "org.opencontainers.image.description": f"Predicts with {manifest.name}, {manifest.precision}",
        "org.opencontainers.image.base.digest": base.descriptor.digest,
        "dev.eaves.version": eaves.__version__,
        ARTIFACT_LABEL: f"sha256:{artifact.digest}",
        TASK_LABEL: manifest.task,
    }
    classes = json.dumps(list(manifest.labels), ensure_ascii=False)
    if manifest.labels and len(classes) <= MAX_CLASSES:
        labels[CLASSES_LABEL] = classes
    if base.name:
        labels["org.opencontainers.image.base.name"] = base.name
    licence = manifest.licences.get("model", "")
    if licence and len(licence) <= 80:
        labels["org.opencontainers.image.licenses"] = licence
    if HANDLER in manifest.files:
        labels[HANDLER_LABEL] = f"sha256:{manifest.files[HANDLER].sha256}"
    return labels


def split_parts(artifact: Artifact, *, allow_handler: bool = False) -> dict[str, list[str]]:
    """Return the paths of an artifact's files by the title of their layer; first the files that change least.

    The backbone has a layer of its own, because it makes up most of the bytes. The graph follows, then the golden
    inputs, then everything that a new head changes. A handler comes last.

    Raises:
        OciError: When the artifact has a handler and `allow_handler` is False.
    """
    paths = {*artifact.manifest.files, MANIFEST}
    if HANDLER in paths and not allow_handler:
        raise OciError(
            f"{artifact.path} contains {HANDLER}, code that runs wherever the container image runs",
            hint=f"read {HANDLER}, then package with --allow-handler",
        )
    golden = {path for path in paths if path.startswith("golden/")} - {GOLDEN_INDEX}
    rest = paths - golden - {BACKBONE, MODEL, HANDLER}
    parts = zip(TITLES, ({BACKBONE}, {MODEL}, golden, rest, {HANDLER}), strict=True)
    return {title: kept for title, some in parts if (kept := sorted(some & paths))}


def part_files(artifact: Artifact, paths: Sequence[str]) -> Iterator[LayerFile]:
    """Yield files of an artifact, with their paths in a container and the SHA-256 from the artifact's manifest."""
    for path in paths:
        digest = artifact.digest if path == MANIFEST else artifact.manifest.files[path].sha256
        yield LayerFile(path=f"{ROOT}/{path}", content=artifact.path / path, sha256=digest)


def _write_part(artifact: Artifact, title: str, paths: Sequence[str], layout: Layout, cache: Layout) -> Layer:
    """Write the layer of a part of an artifact, and return it.

    The layer of a backbone is cached, so that it isn't compressed again for a new head.

    Raises:
        OciError: When a file no longer matches the artifact's manifest.
    """
    files = list(part_files(artifact, paths))
    if MANIFEST in paths or sum(artifact.manifest.files[path].size_bytes for path in paths) < KEPT_BYTES:
        return write_layer(layout, files, title)
    key = (*paths, *(file.sha256 for file in files))
    return kept_layer(cache, key, lambda: write_layer(cache, files, title))


def _runtime_of(image: Image, base: Base) -> RuntimeTarget:
    """Return the platform and Python version of a base image, for which wheels and byte code are made.

    Raises:
        OciError: When the base image doesn't declare its Python version, or when its Python is too old.
    """
    environment = dict(str(entry).partition("=")[::2] for entry in image.values.get("config", {}).get("Env") or [])
    declared = base.python or environment.get("PYTHON_VERSION", "")
    found = re.fullmatch(_VERSION, declared)
    if found is None:
        raise OciError(
            f"the base image declares the Python version {declared[:40]!r}, which is not a version"
            if declared
            else "the base image doesn't declare its Python version (PYTHON_VERSION)",
            hint="name the version with --python, for example --python 3.13",
        )
    if (int(found[2]), int(found[3])) < OLDEST:
        raise OciError(
            f"the base image has Python {declared}; a function needs Python 3.11 or newer",
            hint=("choose another base image"),
        )
    return RuntimeTarget(platform=image.platform, python=found["python"], release=declared)


def find_artifact(source: ContentSource, descriptor: Descriptor) -> str:
    """Return the digest in a container image's label of its artifact, `sha256:...`; empty without the label."""
    image = next(load_images(source, descriptor), None)
    return image.labels.get(ARTIFACT_LABEL, "") if image else ""


def unpack_artifact(source: ContentSource, descriptor: Descriptor, layout: Layout, folder: Path) -> Artifact:
    """Fetch the layers of an artifact and unpack them into a folder.

    Args:
        source: Source of the container image.
        descriptor: Descriptor of the container image, or of an index whose platforms all have the same artifact.
        layout: Layout that stores the layers, so that after an interruption only missing content is fetched.
        folder: Directory of the artifact, which must not exist.

    Returns:
        The opened artifact.

    Raises:
        OciError: When the container image is not a function's, or when its artifact isn't the one that its label names.
        ArtifactError: When the artifact is damaged.
    """
    image = next(load_images(source, descriptor), None)
    if image is None or not (wanted := image.labels.get(ARTIFACT_LABEL)):
        raise OciError(
            f"{descriptor.digest} is not the container image of a function", hint="make one with `eaves package`"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(folder.parent), tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder.parent) as made:
        for layer in image.layers:
            if layer.annotations.get(TITLE, "") in TITLES:
                layout.write(layer, source)
                with read_layer(layout.blob_path(layer.digest), layer) as tar:
                    for member in tar:  # only the artifact's files
                        if member.isfile() and PurePosixPath(member.name).parts[:1] == (ROOT,):
                            tar.extract(member, Path(made), filter="data")
        found = open_artifact(Path(made) / ROOT, level="full")
        if f"sha256:{found.digest}" != wanted:
            raise OciError(
                f"the artifact in {descriptor.digest} is not the one that its labels name",
                hint=ALTERED_HINT,
            )
        shutil.move(Path(made) / ROOT, folder)
    return open_artifact(folder)
