"""A base for container images, made of the Python that runs the tests: no registry is asked for one."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from platform import python_version

import pytest

import eaves
from eaves.oci.descriptor import CONFIG, INDEX, MANIFEST, ImagePlatform, build_descriptor, render_document
from eaves.oci.layers.layer import LayerFile, write_layer
from eaves.oci.layout import Layout, create_layout, open_layout
from tests.once import build_once_here
from tests.processes.commands import run_command

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
EXTRA = ("libstdc++.so.6", "libgcc_s.so.1", "librt.so.1", "libdl.so.2", "libpthread.so.0")
"""What wheels need of a base."""


def build_base(
    folder: Path,
    *,
    architecture: str = "",
    plain: bool = False,
    files: Sequence[LayerFile] = (),
    python: str | None = None,
    command: Sequence[str] = ("python3",),
    user: str = "",
) -> Layout:
    """A layout with one container image, `base`.

    Args:
        folder: The layout's.
        architecture: What it says it is for; this machine's.
        plain: Whether it holds this machine's Python for real, about 40 MB.
        files: Files that it holds otherwise; none: one small file.
        python: The version that it says it has; empty: it says none. This process's.
        command: What it runs.
        user: The user that it runs as, by number; empty: root.
    """
    layout = create_layout(folder)
    small = [LayerFile(path="etc/os-release", content=b"ID=test\n")]
    layer = write_layer(layout, _python_files() if plain else files or small, "base")
    said = python_version() if python is None else python
    environment = ["PATH=/usr/local/bin:/usr/bin:/bin", *([f"PYTHON_VERSION={said}"] if said else [])]
    values = {
        "architecture": architecture or this_platform().architecture,
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {"Env": environment, "Cmd": [*command], **({"User": user} if user else {})},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created_by": "the tests"}],
    }
    content = render_document(values)
    config = build_descriptor(content, CONFIG)
    layout.write_bytes(content, config)
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.to_dict()}
    manifest = render_document({**document, "layers": [layer.descriptor.to_dict()]})
    layout.write_manifest(build_descriptor(manifest, MANIFEST), manifest, "base")
    return layout


def build_index_base(folder: Path, arm64: Sequence[LayerFile] = (), python: str | None = None) -> Layout:
    """A layout whose container image `base` is an index of linux/amd64, without Python, and linux/arm64.

    Args:
        folder: The layout's.
        arm64: Files for linux/arm64; none: it is without Python, too.
        python: Version of the Python in them; None: this process's.
    """
    entries = []
    for name, files, version in (("amd64", (), None), ("arm64", arm64, python)):
        one = build_base(folder, architecture=name, files=files, python=version).resolve("base")
        entries.append({**one.to_dict(), "annotations": {}, "platform": {"os": "linux", "architecture": name}})
    layout = open_layout(folder)
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    layout.write_manifest(build_descriptor(index, INDEX), index, "base")
    return layout


def build_runtime_cache(folder: Path) -> Path:
    """Make the runtime's layers once, which takes long; an XDG_CACHE_HOME that keeps them."""
    from tests.fakes.models.graph import write_graph_artifact

    build_base(folder / "base")
    artifact = write_graph_artifact(folder / "artifact").path
    run_package(folder / "cache", artifact, "-t", f"oci:{folder}/out:v1", "--base", f"oci:{folder}/base")
    return folder / "cache"


def find_runtime_cache(factory: pytest.TempPathFactory) -> Path:
    """The same, made once on this machine for as long as no module of packaging changes."""
    modules = sorted((Path(eaves.__file__).parent / "oci").rglob("*.py"))
    return build_once_here(factory, "runtime", build_runtime_cache, *modules)


def run_package(
    cache: Path, *words: str | Path, cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """`eaves package` as a process, with a cache of the tests' own and no logins."""
    done = run_command(package_command(*words), env=package_environment(cache, **environ), cwd=cwd)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr
    return done


def package_command(*words: str | Path) -> list[str]:
    """The words of `eaves package`."""
    return [sys.executable, "-P", "-m", "eaves.cli", "package", *map(str, words)]


def package_environment(cache: Path, **environ: str) -> dict[str, str]:
    """What such a process gets."""
    ours = {"PYTHONPATH": str(Path(eaves.__file__).parents[1]), "XDG_CACHE_HOME": str(cache)}
    return {**os.environ, **ours, "DOCKER_CONFIG": str(cache / "no-logins"), **environ}


def need(*commands: str) -> str:
    """Path of the first of these commands; the test is skipped, visibly, where one isn't installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    found = [shutil.which(command, path=path) for command in commands]
    for command, program in zip(commands, found, strict=True):
        if program is None:
            pytest.skip(f"{command} is not installed")
    return str(found[0])


def this_platform() -> ImagePlatform:
    """The machine's that runs the tests."""
    machine = sysconfig.get_platform().rpartition("-")[2]
    return ImagePlatform(architecture={"x86_64": "amd64", "aarch64": "arm64"}[machine])


def _python_files() -> Iterator[LayerFile]:
    """The interpreter, its standard library and the shared libraries of both, at their own places."""
    program = Path(sys.base_prefix) / "bin" / f"python{VERSION}"
    stdlib = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    shared = [program.resolve()]
    found: dict[str, Path] = {}
    for path in sorted(stdlib.rglob("*")):
        parts = path.relative_to(stdlib).parts
        if path.is_file() and not {"site-packages", "test", "tests", "__pycache__", "idlelib", "ensurepip"} & {*parts}:
            found[_inside(path)] = path
            if path.suffix == ".so":
                shared.append(path)
    for library in _libraries(shared):
        found[_inside(library)] = library.resolve()
    for name in ("python", "python3", f"python{VERSION}"):
        found[f"usr/local/bin/{name}"] = program.resolve()
    for place, source in found.items():
        yield LayerFile(path=place, content=source, executable="/bin/" in place or ".so" in place)


def _inside(path: Path) -> str:
    return str(path.absolute()).removeprefix("/")


def _libraries(files: list[Path]) -> set[Path]:
    """Shared libraries that these need, as ldd finds them, the loader too."""
    said = run_command(["ldd", *map(str, files)]).stdout
    found = {Path(path) for path in re.findall(r"(/\S+\.so\S*) \(0x", said)}
    known = run_command(["/sbin/ldconfig", "-p"], check=True).stdout
    for name in EXTRA:
        match = re.search(
            rf"^\s*{re.escape(name)} .*x86-64.* => (\S+)$|^\s*{re.escape(name)} .*AArch64.* => (\S+)$",
            known,
            re.MULTILINE,
        )
        if match:
            found.add(Path(match[1] or match[2]))
    return found
