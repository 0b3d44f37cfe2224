"""Download of the wheels in a lock file for a container's platform, by pip, which checks their digests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from eaves.errors import OciError, RegistryError
from eaves.oci.descriptor import ImagePlatform
from eaves.oci.layers.layer import LayerFile

GLIBC = range(17, 41)
"""Minor versions of glibc whose wheels pip may choose, 2.17 to 2.40, oldest first. The base's glibc isn't known here;
`eaves.oci.runtime.check_glibc` compares it.

Among the wheels whose digests the lock file allows, pip takes the one for the first version that fits, so the same
wheel is chosen on every machine."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Architecture in container images' terms to Python's name for it, for each one that the lock file has wheels for."""
LEGACY = {"x86_64": ("manylinux1", "manylinux2010", "manylinux2014"), "aarch64": ("manylinux2014",)}
_TESTS = frozenset({"tests", "test"})
_SOURCES = frozenset({".c", ".cpp", ".h", ".hpp", ".pyx", ".pxd", ".pyi", ".a", ".lib", ".cmake"})
_UNUSED = (
    "onnxruntime/capi/libonnxruntime.so",  # 35 MB: a second copy of the runtime, for programs in C
    *(f"onnxruntime/{name}/" for name in ("backend", "datasets", "quantization", "tools", "transformers")),  # 9 MB
    *(f"numpy/{name}" for name in ("f2py/", "testing/", "conftest.py", "_core/include/", "_core/lib/")),
)
"""Prefixes of paths in wheels that are left out, because a function never reads such files."""
_RECORDS = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})
TIMEOUT_S = 600.0


def download(lock: Path, platform: ImagePlatform, python: str, folder: Path) -> list[Path]:
    """Fetch every wheel of a lock file.

    Args:
        lock: Path of the lock file: pinned requirements with digests.
        platform: Platform of the container.
        python: Version of the container's Python, such as `3.13`.
        folder: Folder that receives the wheels.

    Returns:
        Paths of the wheels, sorted by name.

    Raises:
        OciError: When there are no wheels for this platform, or pip isn't installed.
        RegistryError: When pip fails.
    """
    machine = MACHINES.get(platform.architecture)
    if machine is None or platform.os != "linux":
        raise OciError(
            f"there are no Python wheels for {platform}",
            hint=(f"choose one of these platforms: linux/{', linux/'.join(MACHINES)}"),
        )
    abi = f"cp{python.replace('.', '')}"
    tags = [*(f"manylinux_2_{minor}" for minor in GLIBC), *LEGACY[machine], "linux"]
    words = ["download", "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes", "--no-deps"]
    words += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    words += [word for one in (abi, "abi3", "none") for word in ("--abi", one)]
    words += [word for tag in tags for word in ("--platform", f"{tag}_{machine}")]
    command = [sys.executable, "-P", "-m", "pip", *words, "-r", str(lock), "-d", str(folder)]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PIP_REQUIRE_VIRTUALENV": "0"},  # a download installs nothing
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RegistryError(
            f"the Python wheels were not downloaded within {TIMEOUT_S:g} s",
            hint="check the network, then run the command again",
        ) from error
    if done.returncode:
        ending = "\n".join(done.stderr.strip().splitlines()[-3:])[:500]
        absent = "No module named pip" in done.stderr
        hint = (
            "python -m ensurepip && python -m pip install '.[oci]'   # in a checkout of Eaves"
            if absent
            else "check the network and pip's index, then run the command again"
        )
        failure = OciError if absent else RegistryError  # pip reports a wrong lock and an unreachable index alike
        raise failure(f"pip can't download the wheels for {platform}, Python {python}: {ending}", hint=hint)
    return sorted(folder.glob("*.whl"))


def find_glibc(wheels: Iterable[Path]) -> str:
    """Return the oldest version of glibc that all wheels run on, such as `2.28`, by their names. Source: PEP 600."""
    minors = (re.findall(r"manylinux_2_(\d+)_", wheel.name) for wheel in wheels)
    return f"2.{max((min(map(int, some)) for some in minors if some), default=GLIBC[0])}"


def wheel_files(wheel: Path, root: str) -> Iterator[LayerFile]:
    """Yield a wheel's files as they are installed, without tests, sources, headers, scripts and records.

    Args:
        wheel: Path of the wheel.
        root: Directory of Python packages in the container.

    Raises:
        OciError: When the wheel is damaged or has a path that leads out of the directory.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                path = None if entry.is_dir() else _place(PurePosixPath(entry.filename), wheel)
                if path is not None:
                    yield LayerFile(path=f"{root}/{path}", content=archive.read(entry))
    except (OSError, zipfile.BadZipFile) as error:
        raise OciError(
            f"{wheel.name} can't be read: {error}", hint="delete the cache, then run the command again"
        ) from error


def _place(path: PurePosixPath, wheel: Path) -> PurePosixPath | None:
    """Return the path at which a wheel's file is installed, relative to the packages' directory.

    None when the file is left out. Source: PEP 427.
    """
    if path.is_absolute() or ".." in path.parts:
        raise OciError(f"{wheel.name} contains a file outside its folder: {str(path)[:80]!r}")
    if path.parts[0].endswith(".data"):
        if path.parts[1:2] not in (("purelib",), ("platlib",)):
            return None
        path = PurePosixPath(*path.parts[2:])
    in_info = path.parts[0].endswith(".dist-info")
    if in_info:
        return None if path.name in _RECORDS else path
    dead = _TESTS & {*path.parts[:-1]} or path.suffix in _SOURCES or str(path).startswith(_UNUSED)
    return None if dead else path
