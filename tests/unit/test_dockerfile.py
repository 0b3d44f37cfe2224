"""The statements of the Dockerfile that a container image's safety hangs on."""

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from eaves.base.telemetry import TELEMETRY_OFF
from eaves.oci.package import ENTRYPOINT, PORT, USER
from eaves.oci.runtime import CODE, ENVIRONMENT, PACKAGES

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"
COMMANDS = {
    "function": "functions",
    "trainer": "trainer",
    **dict.fromkeys(("agent", "agent-camera", "agent-s3", "agent-camera-s3"), "eaves.sources"),
}


@pytest.fixture(scope="module")
def stages() -> dict[str, list[str]]:
    """Name of each stage to its statements, the `FROM` first."""
    if not DOCKERFILE.exists():
        pytest.skip(f"{DOCKERFILE} is not there: this is not the source tree")
    found: dict[str, list[str]] = {"": []}
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    name = ""
    for statement in filter(None, map(str.strip, "\n".join(lines).replace("\\\n", " ").splitlines())):
        if statement.startswith("FROM "):
            name = statement.rpartition(" AS ")[2]
            found[name] = []
        found[name].append(re.sub(r"\s+", " ", statement))
    return found


def inherited(stages: dict[str, list[str]], name: str) -> list[str]:
    """A stage's statements after those of the stages it is built from."""
    parent = stages[name][0].split()[1]
    return (inherited(stages, parent) if parent in stages else []) + stages[name]


def test_there_is_a_target_per_role_on_one_base(stages: dict[str, list[str]]):
    assert set(COMMANDS) <= set(stages)
    parents = {statements[0].split()[1] for name, statements in stages.items() if name}
    assert parents <= {"${BASE}", *stages}


def test_the_base_is_named_by_digest(stages: dict[str, list[str]]):
    (base,) = (line.removeprefix("ARG BASE=") for line in stages[""] if line.startswith("ARG BASE="))
    assert re.fullmatch(r"python:3\.13-slim-trixie@sha256:[0-9a-f]{64}", base), "a tag can move"


def test_a_role_starts_its_module_as_a_numeric_user_and_runs_nothing_of_its_own(stages: dict[str, list[str]]):
    """Kubernetes can prove runAsNonRoot only of a number; what ships is copied from builders, without pip or caches."""
    for role, module in COMMANDS.items():
        statements = inherited(stages, role)
        assert [line for line in statements if line.startswith("ENTRYPOINT ")] == [
            f'ENTRYPOINT ["python", "-P", "-m", "{module}"]'
        ]
        users = [line for line in statements if line.startswith("USER ")]
        assert re.fullmatch(r"USER [1-9][0-9]*:[1-9][0-9]*", users[-1]), role
        assert [line for line in statements if line.startswith(("RUN ", "ADD "))] == [], role
        words = {word for line in statements if line.startswith("ENV ") for word in line.split()}
        safe = {"PYTHONSAFEPATH=1", "PYTHONDONTWRITEBYTECODE=1", *map("=".join, TELEMETRY_OFF.items())}
        assert safe <= words, role
        assert ("OPENBLAS_NUM_THREADS=1" in words) == (role == "function")


def test_nothing_is_fetched_by_address_and_every_lock_is_checked(stages: dict[str, list[str]]):
    statements = [line for lines in stages.values() for line in lines]
    assert [line for line in statements if line.startswith("ADD ") or "://" in line] == []
    for line in statements:
        for command in re.findall(r"pip (?:--python \S+ )?install [^&'>]*", line):
            assert "--require-hashes" in command or "--no-index --target" in command, command


def test_the_functions_runtime_is_what_eaves_package_makes(stages: dict[str, list[str]]):
    made = [line for line in stages["function-runtime"] if line.startswith("RUN ")]
    assert [line.partition("/tools/")[2] for line in made] == ["bin/python -P -m eaves.oci.runtime function /out"]
    copies = [line for line in stages["function"] if line.startswith("COPY ")]
    assert all("--from=function-runtime" in line for line in copies)
    assert [line.split()[-1] for line in copies] == ["/", f"/{PACKAGES}", f"/{CODE}"]


@pytest.mark.long("the byte code of the standard library is compiled")
def test_a_stage_selects_code_without_any_dependency_of_eaves(tmp_path: Path):
    """The stage's environment has the tools that build a wheel, and nothing that Eaves depends on."""
    words = ["-S", "-P", "-m", "eaves.oci.runtime", "agent", str(tmp_path)]
    subprocess.run([sys.executable, *words], check=True, env={"PYTHONPATH": str(DOCKERFILE.parent)}, cwd=tmp_path)
    assert (tmp_path / "code" / CODE / "eaves" / "sources" / "__main__.py").is_file()
    library = tmp_path / "library" / sysconfig.get_path("stdlib").lstrip("/")
    assert {f"{name}.{sys.implementation.cache_tag}.pyc" for name in ("os", "queue", "sqlite3")} & {
        path.name for path in library.rglob("*.pyc")
    }


def test_an_agent_has_the_code_that_its_processes_import(stages: dict[str, list[str]]):
    made = [line for line in stages["agent-code"] if line.startswith("RUN ")]
    assert ["bin/python -P -m eaves.oci.runtime agent /out" in line for line in made] == [True]
    copies = [line.split()[1:] for line in stages["agent"] if line.startswith("COPY --from=agent-code")]
    assert copies == [
        ["--from=agent-code", "/out/library/", "/"],
        ["--from=agent-code", f"/out/code/{CODE}", f"/{CODE}"],
    ]


@pytest.mark.parametrize(
    ("target", "below", "packages"),
    [
        ("agent-camera", "agent", "agent-camera"),
        ("agent-s3", "agent", "agent-s3"),
        ("agent-camera-s3", "agent-camera", "agent-s3"),
    ],
)
def test_a_larger_agent_has_every_layer_of_the_smaller_one_and_one_more(
    stages: dict[str, list[str]], target: str, below: str, packages: str
):
    """A node that has the plain agent fetches PyAV or boto3 only, and the plain agent has nothing of them."""
    assert stages[target][0] == f"FROM {below} AS {target}"
    copies = [line for line in stages[target] if line.startswith("COPY ")]
    assert copies == [f"COPY --from={packages}-packages /added /"]
    assert not [line for line in inherited(stages, "agent") if "camera" in line or "s3" in line]
    (adding,) = [line for line in stages["tools"] if "add-lock" in line]
    assert "--no-deps --root /added" in adding


def test_a_function_starts_as_one_that_eaves_package_made(stages: dict[str, list[str]]):
    statements = inherited(stages, "function")
    words = [word for line in statements if line.startswith("ENV ") for word in line.split()[1:]]
    assert dict(word.split("=", 1) for word in words) == ENVIRONMENT
    assert f"USER {USER}" in statements
    assert f"EXPOSE {PORT}" in statements
    assert f"ENTRYPOINT {json.dumps(ENTRYPOINT)}" in statements


def test_the_first_import_needs_no_compiling(stages: dict[str, list[str]]):
    compiling = [line for name in ("tools", "code") for line in stages[name] if "compileall" in line]
    assert len(compiling) == 2
    assert all("--invalidation-mode unchecked-hash" in line for line in compiling)
