"""The Dockerfile, built for real without a daemon: its function is the root that `eaves package` makes, which predicts.

`make image-test`: as root, with Debian's buildah, mmdebstrap, skopeo and umoci, and python3.13.
"""

import os
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from eaves.artifact import open_artifact
from tests.container_images.packaging import need, run_package
from tests.container_images.unpacked import run, unpack

ROOT = Path(__file__).parents[3]
RELEASE, PYTHON = "trixie", "3.13"

pytestmark = [pytest.mark.slow, pytest.mark.long("a container image is built"), pytest.mark.timeout(1800)]


class Buildah:
    """Debian's buildah, with a storage of its own.

    Args:
        folder: For it.
    """

    def __init__(self, folder: Path) -> None:
        places = ["--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "vfs"]
        self._command = [need("buildah"), *map(str, places)]

    def __call__(self, *words: str | Path) -> str:
        return run(*self._command, *map(str, words)).strip()


def pip_volumes(folder: Path) -> list[str]:
    """What pip needs to know of this machine's network, mounted into the build."""
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE", "")
    values = {"index-url": os.environ.get("PIP_INDEX_URL", ""), "cert": certificates}
    lines = [f"{name} = {value}\n" for name, value in values.items() if value]
    (folder / "pip.conf").write_text(f"[global]\n{''.join(lines)}")
    mounts = [f"{folder}/pip.conf:/etc/pip.conf:ro", *([f"{certificates}:{certificates}:ro"] if certificates else [])]
    return [word for mount in mounts for word in ("--volume", mount)]


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two layouts: `base`, a Debian with Python, and `function`, the Dockerfile's target on it."""
    if os.geteuid() != 0:
        pytest.skip("making a base needs to be root")
    if not (ROOT / "Dockerfile").exists():
        pytest.skip("the Dockerfile is not here: this is not the source tree")
    need(f"python{PYTHON}")
    folder = tmp_path_factory.mktemp("image")
    buildah, root = Buildah(folder), folder / "root"
    packages = "--include=python3,python3-venv,python-is-python3"
    run(need("mmdebstrap"), "--variant=minbase", "--mode=root", packages, RELEASE, str(root))
    release = run("chroot", str(root), "python3", "-c", "import platform; print(platform.python_version())").strip()
    container = buildah("from", "scratch")
    run("cp", "-a", f"{root}/.", buildah("mount", container))
    shutil.rmtree(root)
    buildah("umount", container)
    buildah("config", "--env", f"PYTHON_VERSION={release}", container)
    buildah("commit", "--quiet", "--format", "oci", "--timestamp", "0", "--rm", container, "base")
    limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1] for name in ("nofile", "nproc")}
    ulimits = [word for name, limit in limits.items() for word in ("--ulimit", f"{name}={limit}:{limit}")]
    options = ["--isolation", "chroot", "--timestamp", "0", "--layers=false", *ulimits, *pip_volumes(folder)]
    target = ["--build-arg", "BASE=localhost/base", "--target", "function", "--tag", "function"]
    buildah("bud", *options, *target, "--file", ROOT / "Dockerfile", ROOT)
    for name in ("base", "function"):
        buildah("push", name, f"oci:{folder}/{name}:{name}")
    shutil.rmtree(folder / "storage")
    return folder


@pytest.fixture(scope="module")
def built(layouts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, object]]:
    """Root and config of the Dockerfile's function."""
    return unpack(layouts / "function", "function", tmp_path_factory.mktemp("built") / "bundle")


def files_of(root: Path) -> dict[str, Path]:
    """Every file below /opt and every byte code of the standard library, by its path in the container."""
    paths = [*(root / "opt").rglob("*"), *(root / f"usr/lib/python{PYTHON}").rglob("*.pyc")]
    return {path.relative_to(root).as_posix(): path for path in paths if not path.is_dir()}


def test_it_is_the_root_that_eaves_package_makes(
    built: tuple[Path, Mapping[str, object]], layouts: Path, tiny_artifact: Path, oci_cache: Path, tmp_path: Path
):
    root, config = built
    base = f"oci:{layouts}/base:base"
    said = run_package(oci_cache, tiny_artifact, "-t", f"oci:{tmp_path}/out:v1", "--base", base).stderr
    packaged, reported = unpack(tmp_path / "out", "v1", tmp_path / "packaged")
    one, other = files_of(root), files_of(packaged)
    assert sorted(one) == sorted(other)
    same_release = "another release" not in said
    compared = [name for name in one if same_release or not name.endswith(".pyc")]
    assert [name for name in compared if one[name].read_bytes() != other[name].read_bytes()] == []
    assert {name for name in one if one[name].stat().st_mode != other[name].stat().st_mode} == set()
    for key in ("Entrypoint", "User", "WorkingDir", "ExposedPorts"):
        assert config[key] == reported[key], key
    digest = f"EAVES_ARTIFACT_DIGEST={open_artifact(tiny_artifact, level='full').digest}"
    assert {*reported["Env"]} - {*config["Env"]} == {digest}  # type: ignore[misc]
