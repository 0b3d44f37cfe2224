"""Wheels to the files of a layer; pip, with and without what it needs."""

import zipfile
from pathlib import Path

import pytest

from eaves.errors import OciError
from eaves.oci.descriptor import ImagePlatform
from eaves.oci.layers.wheels import download, find_glibc, wheel_files

AMD64 = ImagePlatform(architecture="amd64")
LOCK = f"blinker==1.9.0 \\\n    --hash=sha256:{'0' * 64}\n"


def build_wheel(folder: Path, *names: str) -> Path:
    path = folder / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def placed(folder: Path, *names: str) -> set[str]:
    return {file.path for file in wheel_files(build_wheel(folder, *names), "opt/eaves")}


def test_what_runs_is_taken_to_its_place(tmp_path: Path):
    assert placed(
        tmp_path, "x/", "x/a.py", "x/b.so", "x.libs/c.so.1", "x-1.data/purelib/d.py", "x-1.data/platlib/x/e.so"
    ) == {f"opt/eaves/{name}" for name in ("x/a.py", "x/b.so", "x.libs/c.so.1", "d.py", "x/e.so")}


def test_metadata_and_licences_are_taken_and_records_are_not(tmp_path: Path):
    kept = ("METADATA", "WHEEL", "licenses/LICENSE", "licenses/x/tests/LICENSE", "entry_points.txt")
    names = [f"x-1.dist-info/{name}" for name in (*kept, "RECORD")]
    assert placed(tmp_path, *names) == {f"opt/eaves/x-1.dist-info/{name}" for name in kept}


def test_what_never_runs_stays_behind(tmp_path: Path):
    never = ("x/tests/test_a.py", "x/a.c", "x-1.data/scripts/x", "onnxruntime/quantization/a.py", "numpy/f2py/a.py")
    assert placed(tmp_path, *never, "x/a.py") == {"opt/eaves/x/a.py"}


@pytest.mark.parametrize("name", ["/etc/passwd", "x/../../y.py"])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, name: str):
    with pytest.raises(OciError, match="contains a file outside its folder"):
        placed(tmp_path, name)


@pytest.mark.parametrize(
    ("names", "glibc"),
    [
        (["a-1-py3-none-any.whl"], "2.17"),
        (["a-1-cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64.whl"], "2.17"),
        (["a-1-cp313-cp313-manylinux_2_28_aarch64.whl", "b-1-cp310-abi3-manylinux2014_aarch64.whl"], "2.28"),
        (["a-1-cp313-cp313-manylinux_2_5_x86_64.whl", "b-1-cp313-cp313-manylinux_2_34_x86_64.whl"], "2.34"),
    ],
    ids=["no binary", "the oldest of one wheel's", "the newest of several wheels'", "2.5 is older than 2.34"],
)
def test_wheels_say_which_glibc_they_need(names: list[str], glibc: str):
    """Source: PEP 600; one wheel runs on the oldest version of its tags, and all run on the newest of these."""
    assert find_glibc(map(Path, names)) == glibc


def test_an_index_out_of_reach_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Settings that say where wheels are count, others don't: a virtual environment is not needed for this."""
    (tmp_path / "lock.txt").write_text(LOCK)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": "", "REQUIRE_VIRTUALENV": "1", "TARGET": "x"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(OciError, match="blinker") as caught:
        download(tmp_path / "lock.txt", AMD64, "3.13", tmp_path / "wheels")
    assert "virtualenv" not in caught.value.message
    assert "pip's index" in str(caught.value.hint)
