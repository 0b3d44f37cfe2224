"""A Debian with Python for arm64, made of Debian's packages on any machine, and programs in it, run by QEMU."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from eaves.oci.layers.layer import LayerFile
from tests.container_images.packaging import need
from tests.once import build_once_here

PACKAGES = ("python3", "libstdc++6")
_APT = """
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "root";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""


def find_arm64_root(factory: pytest.TempPathFactory) -> Path:
    """Return the root, made once on this machine; skips where Debian's tools or packages aren't there."""
    need("qemu-aarch64", "apt-get", "dpkg-deb")
    return build_once_here(factory, "arm64", _build_root)


def _build_root(folder: Path) -> Path:
    apt, root = folder / "apt", folder / "root"
    for name in ("state/lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "apt.conf").write_text(_APT.format(folder=apt))
    for words in (["update"], ["install", "--yes", "--download-only", "--no-install-recommends", *PACKAGES]):
        environ = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
        done = subprocess.run(["apt-get", *words], env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"Debian's packages for arm64 can't be fetched: {done.stderr.strip()[-300:]}")
    for name in ("bin", "lib", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        content = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(root, filter="tar")
    shutil.rmtree(apt)
    return root


def arm64_files(root: Path) -> tuple[list[LayerFile], str]:
    """Return the files of the root for a layer, links as files, and the version of its Python, such as `3.13`."""
    (program,) = (root / "usr/bin").glob("python3.??")
    (loader,) = (root / "usr/lib").glob("*/ld-linux-aarch64.so.1")
    paths = {str(path.relative_to(root)): path for path in (root / "usr").rglob("*") if path.is_file()}
    paths |= {"usr/bin/python": program, "lib/ld-linux-aarch64.so.1": loader}
    files = [
        LayerFile(path=name, content=path.resolve(), executable=os.access(path, os.X_OK))
        for name, path in paths.items()
        if path.resolve().is_relative_to(root)
    ]
    return files, program.name.removeprefix("python")


def emulate(root: Path, cpu: str) -> list[str]:
    """Return the words that run a program of the root on a CPU such as `cortex-a72`.

    The program sees each file below the root as if the root were `/`, and all other files of this machine.
    """
    return [need("qemu-aarch64"), "-cpu", cpu, "-L", str(root)]
