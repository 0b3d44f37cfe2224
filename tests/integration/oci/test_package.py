"""`eaves package` as people run it: the same digest everywhere, and what happens when it is stopped or damaged."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from eaves.cli import cli
from eaves.errors import EavesError
from eaves.oci.layers.layer import LayerFile
from eaves.oci.layout import Layout, open_layout
from tests.container_images.packaging import (
    VERSION,
    build_base,
    package_command,
    package_environment,
    run_package,
)
from tests.waiting import wait_until

MAKING = "building the layer eaves"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base") / "layout"
    build_base(folder)
    return f"oci:{folder}"


@pytest.fixture(scope="module")
def digest(tiny_artifact: Path, base: str, oci_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the digest of the tiny artifact's container image, whose base has no readable standard library."""
    place = tmp_path_factory.mktemp("first") / "out"
    done = run_package(oci_cache, tiny_artifact, "-t", f"oci:{place}:v1", "--base", base)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert line == (
        f"warning: no layer of the base contains lib/python{VERSION}/os.py; the container image has no byte code of "
        "the standard library, so each cold start compiles it, and glibc is not checked"
    )
    return done.stdout.strip().rpartition("@")[2]


@pytest.fixture
def cache(digest: str, oci_cache: Path, tmp_path: Path) -> Path:
    """A cache that has the packages' layer and lacks that of our own code, which is quickly made."""
    shutil.copytree(oci_cache, tmp_path / "cache")
    for path in (tmp_path / "cache/eaves/oci").glob("*.json"):
        if json.loads(path.read_bytes()).get("title", "").startswith("eaves "):
            code = json.loads(path.read_bytes())["descriptor"]["digest"]
            open_layout(path.parent).blob_path(code).unlink()
            path.unlink()
    return tmp_path / "cache"


def layers_of(cache: Path) -> tuple[Layout, dict[str, set[str]]]:
    """The cache's layout, and the digests of each title in it; other tests may have had other Pythons."""
    layout = open_layout(cache / "eaves/oci")
    found = [json.loads(path.read_bytes()) for path in layout.path.glob("*.json") if path.name != "index.json"]
    titles = {one["title"].partition(" ")[0] for one in found}
    return layout, {
        title: {one["descriptor"]["digest"] for one in found if one["title"].partition(" ")[0] == title}
        for title in titles
    }


@pytest.mark.long("container images are made twice")
def test_nothing_but_its_inputs_shows_in_a_digest(
    tiny_artifact: Path, base: str, cache: Path, digest: str, tmp_path: Path
):
    """Another process, folder, umask, time zone, hash seed, file times, and a layer of code that is made again."""
    shutil.copytree(tiny_artifact, tmp_path / "elsewhere/artifact")
    for number, path in enumerate((tmp_path / "elsewhere").rglob("*")):
        os.utime(path, (number, number))
    words = ("elsewhere/artifact", "-t", "oci:out:v2", "--base", base, "-o", "json")
    before = os.umask(0o077)
    try:
        done = run_package(cache, *words, cwd=tmp_path, TZ="Asia/Tokyo", PYTHONHASHSEED="7", LC_ALL="C")
    finally:
        os.umask(before)
    assert MAKING in done.stderr
    assert json.loads(done.stdout) | {"moved_bytes": 0} == {
        "name": f"oci:out@{digest}", "digest": digest, "moved_bytes": 0, "present_bytes": 0
    }  # fmt: skip
    assert str(tmp_path) not in done.stdout


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_is_stopped_leaves_nothing_half_made(
    tiny_artifact: Path, base: str, cache: Path, digest: str, tmp_path: Path, how: signal.Signals
):
    words = (tiny_artifact, "-t", f"oci:{tmp_path}/out:v1", "--base", base)
    (tmp_path / "temporary").mkdir()
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            package_command(*words), env=package_environment(cache, TMPDIR=f"{tmp_path}/temporary"), stderr=said
        )
    wait_until(lambda: MAKING in (tmp_path / "said").read_text() or process.poll() is not None, 30)
    process.send_signal(how)
    assert process.wait(30) != 0, (tmp_path / "said").read_text()
    _, layers = layers_of(cache)
    assert "eaves" not in layers
    if how is not signal.SIGKILL:
        assert list((tmp_path / "temporary").glob("eaves-*")) == []
    assert run_package(cache, *words).stdout.strip().endswith(digest)


def refused(cache: Path, artifact: Path, target: str | Path, base: str, *more: str) -> str:
    """What a command says that is refused before it starts a process; in this process."""
    words = ["package", *map(str, (artifact, "-t", target, "--base", base, *more))]
    error = CliRunner().invoke(cli, words, prog_name="eaves", env=package_environment(cache)).exception
    assert isinstance(error, EavesError), error
    return f"error: {error.message}\ntry: {error.hint}"


def test_what_cannot_be_packaged_is_reported_before_any_work(
    tiny_artifact: Path, base: str, oci_cache: Path, tmp_path: Path
):
    """Each error has a hint, and nothing is written."""
    out = f"oci:{tmp_path}/out:v1"
    (tmp_path / "damaged").mkdir()
    shutil.copytree(tiny_artifact, tmp_path / "damaged", dirs_exist_ok=True)
    (tmp_path / "damaged/labels.txt").write_text("a\nb\nc\nd\n")
    library = LayerFile(path=f"usr/local/lib/python{VERSION}/os.py", content=b"")
    libc = LayerFile(path="lib/libc.so.6", content=b"GNU C Library (GNU libc) stable release version 2.27.\n")
    build_base(tmp_path / "ubuntu", files=[library, libc])
    build_base(tmp_path / "alpine", files=[library])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    build_base(tmp_path / "other", architecture="s390x")
    good, nowhere = tiny_artifact, f"oci:{tmp_path}/nowhere"
    cases = [
        ((tmp_path / "damaged", out, base), "labels.txt"),
        ((tmp_path / "photos", out, base), "manifest.json"),
        ((good, out, nowhere), "nowhere is not an OCI layout"),
        ((good, out, f"{base}:v7"), "has no v7 (entries: base"),
        ((good, out, f"oci:{tmp_path}/other"), "available: linux/s390x"),
        ((good, out, f"oci:{tmp_path}/ubuntu"), "has glibc 2.27; the wheels of serve.txt need glibc 2.28 or newer"),
        ((good, out, f"oci:{tmp_path}/alpine"), "has no glibc; the wheels of serve.txt need glibc"),
        ((good, out, base, "--platform", "amd64"), "try: name linux/amd64 or linux/arm64, for example"),
        ((good, out, base, "--python", "three"), "try: name the version with --python, for example --python 3.13"),
        (
            (good, out, base, "--python", "3.99"),
            "try: install python3.99, or choose a base image with Python " + VERSION,
        ),
        ((good, f"host.example/x@{'sha256:' + '0' * 64}", base), "try: name a tag instead"),
    ]
    for words, message in cases:
        said = refused(oci_cache, *words)  # type: ignore[arg-type]
        assert message in said, (words, said)
        assert "error: " in said
    assert not (tmp_path / "nowhere").exists()


def test_a_model_that_answers_otherwise_goes_nowhere(tiny_artifact: Path, base: str, oci_cache: Path, tmp_path: Path):
    shutil.copytree(tiny_artifact, tmp_path / "a")
    index, manifest = tmp_path / "a/golden/golden.json", tmp_path / "a/manifest.json"
    for path in (index, manifest, index.parent, manifest.parent):
        path.chmod(0o755)
    cases = json.loads(index.read_bytes())
    cases[0]["outputs"]["logits"][0] += 1
    index.write_text(json.dumps(cases))
    values = json.loads(manifest.read_bytes())
    values["files"]["golden/golden.json"] = {
        "sha256": hashlib.sha256(index.read_bytes()).hexdigest(),
        "size_bytes": index.stat().st_size,
    }
    manifest.write_text(json.dumps(values))
    assert "golden" in refused(oci_cache, tmp_path / "a", f"oci:{tmp_path}/out:v1", base)
    assert open_layout(tmp_path / "out").entries() == []
