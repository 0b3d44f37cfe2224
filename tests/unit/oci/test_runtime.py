"""What of our own goes into a container image, and the lock that the rest comes from."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest

import knative
from eaves.errors import OciError
from eaves.oci.descriptor import LAYER, ImagePlatform, build_descriptor
from eaves.oci.layers.layer import GLIBC, Layer
from eaves.oci.runtime import PROCESSES, check_glibc, code_files, find_lock

REQUIREMENTS = Path(__file__).parents[3] / "requirements/serve.txt"


def test_the_lock_is_the_edges_wherever_eaves_is_installed():
    content = find_lock().read_bytes()
    assert b"\nonnxruntime==" in content
    if REQUIREMENTS.exists():
        assert content == REQUIREMENTS.read_bytes()


def test_of_our_code_a_function_gets_what_it_imports():
    paths = {file.path for file in code_files()}
    assert {"opt/code/functions/__main__.py", "opt/code/eaves/errors.py", "opt/code/eaves/artifact/store.py"} <= paths
    rooms = {path.split("/")[2] if path.count("/") == 2 else "/".join(path.split("/")[2:4]) for path in paths}
    assert rooms.isdisjoint({"eaves/cli", "eaves/local", "eaves/oci", "eaves/sources", "trainer", "converters"})
    assert rooms.isdisjoint({"eaves/spool", "eaves/delivery", "eaves/platform", "eaves/relay", "eaves/receiver"})
    assert {Path(path).suffix for path in paths} == {".py"}


def test_a_function_has_what_it_loads_late_and_what_a_handler_is_promised():
    """Source: docs/function.md."""
    paths = {file.path.removeprefix("opt/code/") for file in code_files()}
    late = {"functions/routes.py", "functions/dataref.py", "functions/model_loading.py"}
    promised = {"eaves/errors.py", "eaves/images/__init__.py", "eaves/recipe.py"}
    assert late | promised | {"eaves/cloudevents_sdk.py"} <= paths


def test_every_module_that_knative_starts_in_an_agents_image_is_a_process_of_it():
    """Commands in knative/ are tuples and lists with "-m"; a server's module is an argument as "eaves.link.relay"."""
    started = set()
    for path in Path(str(knative.__file__)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List | ast.Tuple):
                words = [one.value for one in node.elts if isinstance(one, ast.Constant)]
                started |= {str(name) for flag, name in pairwise(words) if flag == "-m"}
            if isinstance(node, ast.Constant) and node.value in PROCESSES["agent"]:
                started.add(str(node.value))
    elsewhere = {"trainer", "eaves.cli", "knative.console"}  # in a trainer's or a console's image
    assert started - elsewhere | {"eaves.sources"} == set(PROCESSES["agent"])


def layer_with(glibc: str) -> Layer:
    descriptor = build_descriptor(b"", LAYER, **({GLIBC: glibc} if glibc else {}))
    return Layer(descriptor=descriptor, diff_id=descriptor.digest, title="")


@pytest.mark.parametrize("base", ["2.28", "2.100"])
def test_a_base_with_the_glibc_of_the_wheels_or_a_newer_one_is_accepted(base: str):
    check_glibc(ImagePlatform(architecture="arm64"), layer_with("2.28"), layer_with(base))


@pytest.mark.parametrize(("base", "said"), [("2.9", "glibc 2.9"), ("2.27", "glibc 2.27"), ("", "no glibc")])
def test_a_base_with_an_older_glibc_or_another_c_library_is_refused(base: str, said: str):
    """Otherwise the container starts, and its first import fails."""
    message = rf"the base image for linux/arm64 has {said}; the wheels of serve\.txt need glibc 2\.28 or newer"
    with pytest.raises(OciError, match=message) as caught:
        check_glibc(ImagePlatform(architecture="arm64"), layer_with("2.28"), layer_with(base))
    assert "python:3.13-slim" in str(caught.value.hint)
