"""Commands on a simulated cluster, typed: what they print, where, and what they end with."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from eaves.artifact.store import HANDLER, LABELS
from eaves.errors import ConflictError, EavesError
from eaves.events import IMAGE_CLASSIFIED, IMAGE_INSPECTED
from eaves.labels import LabelBook
from eaves.oci.copy import copy_image, open_location
from eaves.oci.package import ARTIFACT_LABEL, TASK_LABEL
from eaves.oci.registry.transport import Access
from tests.cluster.sites import IMAGE, OTHER, Sites, open_sites
from tests.container_images.packaging import build_base
from tests.container_images.registries import LocalRegistry, small_index
from tests.fakes.controllers.knative import Knative, refuse
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.fakes.models.graph import write_graph_artifact
from tests.integration.converters.test_gate import push

FIRST, SECOND = "flowers-00001", "flowers-00002"
THIRD = "registry.example/barn/flowers@sha256:" + "e" * 64


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sites]:
    monkeypatch.chdir(tmp_path)
    with open_sites(tmp_path, 1) as sites:
        yield sites


@pytest.fixture
def knative(one: Sites) -> Knative:
    return one.knative["s000"]


def deploy(sites: Sites, image: str = IMAGE, *more: str) -> str:
    result = sites.run("deploy", image, "--offline", "--on", "knative", *more)
    assert result.exit_code == 0, result.output
    assert result.stdout == "flowers\n"
    return result.stderr


def running(knative: Knative) -> str:
    return str(knative.service()["spec"]["template"]["spec"]["containers"][0]["image"])


def test_a_deploy_tells_what_it_did_on_stderr_and_the_name_on_stdout(one: Sites):
    said = deploy(one)
    assert said.splitlines()[0] == f"{FIRST} ready 100 % {FIRST}"
    assert said.splitlines()[-1] == f"8 created; {FIRST} 100 %: done: no other revision gets requests"
    said = deploy(one)
    assert said.splitlines()[-1].startswith("8 unchanged; ")
    said = deploy(one, OTHER)
    assert "changed" in said
    assert "run `eaves reconcile`, `eaves rollout` or `eaves promote` to give it requests" in said


def test_what_was_deployed_last_is_what_reconcile_brings(one: Sites, knative: Knative):
    one.write_project(knative={"image": IMAGE})
    deploy(one, OTHER)
    assert one.run("reconcile").exit_code == 0
    assert running(knative) == OTHER, "although eaves.yaml names another, as it did before"
    one.write_project(knative={"image": THIRD})
    assert one.run("reconcile", "--offline").exit_code == 0
    assert running(knative) == THIRD, "eaves.yaml was changed since"
    assert one.run("reconcile", OTHER, "--offline").exit_code == 0
    assert running(knative) == OTHER


def find_typed(error: EavesError, option: str) -> list[str]:
    """The command with an option that an error's hint advises, as a person types it."""
    (command,) = [part for part in str(error.hint).split("`") if part.startswith("eaves ") and option in part]
    return shlex.split(command.replace("IMAGE", IMAGE))[1:]


def test_where_a_rollout_stands_is_a_row_for_each_revision(one: Sites, knative: Knative):
    deploy(one)
    deploy(one, OTHER)
    knative.run(FIRST, "old").serve(100, ms=20)
    assert one.run("reconcile").exit_code == 0
    knative.run(SECOND, "new").serve(7, failed=1, ms=30)
    reconciled = one.run("reconcile")
    assert reconciled.exit_code == 0
    assert f"{SECOND} 10 %" in reconciled.output
    assert "give it requests" not in reconciled.output, "it has some"
    result = one.run("rollout", "--on", "knative", "-o", "json")
    assert result.exit_code == 0, result.output
    new, old = json.loads(result.stdout)
    assert (new["revision"], new["percent"], new["requests"], new["errors"]) == (SECOND, 10, 8, 1)
    assert new["mean_ms"] == pytest.approx(30, abs=3)
    assert (new["phase"], new["reason"]) == ("advancing", "8 of 20 requests counted; this step is judged at 20")
    assert (old["revision"], old["percent"], old["requests"], old["errors"]) == (FIRST, 90, 100, 0)
    table = one.run("rollout", "--on", "knative").stdout
    assert table.split()[:7] == ["REVISION", "PERCENT", "REQUESTS", "ERRORS", "REFUSED", "LATENCY", "PHASE"]
    assert SECOND in table


def test_a_person_moves_the_shares(one: Sites):
    deploy(one)
    deploy(one, OTHER)
    for words, wanted in (
        (["rollout", "--on", "knative", "--percent", "25"], {FIRST: 75, SECOND: 25}),
        (["rollout", "--on", "knative", "--percent", "5"], {FIRST: 95, SECOND: 5}),
        (["rollout", "--on", "knative", "--percent", "100"], {SECOND: 100}),
        (["rollout", "--on", "knative", "--percent", "60"], {FIRST: 40, SECOND: 60}),
        (["promote", "--on", "knative"], {SECOND: 100}),
        (["rollback", "--on", "knative"], {FIRST: 100}),
        (["rollback", "--on", "knative"], {SECOND: 100}),
        (["rollback", "--site", "s000"], {FIRST: 100}),
        (["rollback", "--site", "s000"], {FIRST: 100}),
        (["promote", "--on", "knative"], {SECOND: 100}),
        (["rollback", "--on", "knative"], {FIRST: 100}),
    ):
        result = one.run(*words)
        assert result.exit_code == 0, result.output
        assert one.served("s000") == wanted, words
    assert one.run("rollout", "--on", "knative", "--resume").exit_code == 0


def test_the_command_for_what_a_revision_refused_selects_the_queues_of_its_site(one: Sites):
    deploy(one)
    deploy(one, OTHER)
    for words, refusing in (
        (["promote", "--on", "knative"], ""),
        (["rollback", "--on", "knative"], SECOND),
        (["rollback", "--on", "knative"], FIRST),
        (["rollback", "--site", "s000"], SECOND),
        (["promote", "--on", "knative"], ""),
        (["rollout", "--on", "knative", "--percent", "60"], ""),
        (["rollout", "--on", "knative", "--percent", "0"], SECOND),
    ):
        said, found, typed = one.run(*words).stderr.partition(" refused: eaves ")
        assert bool(found) == bool(refusing), words
        if found:
            assert said.endswith(f"; what {refusing}"), words
            assert f'"revision": "{refusing}"' in shlex.split(typed)
            said = str(one.run(*shlex.split(typed)).exception)
            assert said == "no agent runs in the namespace eaves of s000 (agents there: none)", words


def test_what_serves_again_is_tagged_for_the_next_pipeline(one: Sites, registry: LocalRegistry, tmp_path: Path):
    """The tag follows the second rollback, which undoes the first; a registry that is away only gets a word."""
    repository, images, access = f"{registry.host}/rolled-back", list[str](), Access(plain_http=True)
    for number in range(2):
        layout = build_base(tmp_path / f"image{number}", command=(str(number),))
        descriptor = layout.resolve("base")
        copy_image(layout, open_location(repository, access).store, descriptor, name=f"v{number}")
        images.append(f"{repository}@{descriptor.digest}")
        deploy(one, images[-1])
    one.write_project(job={"repository": repository})
    assert one.run("promote", "--on", "knative").exit_code == 0
    for image in images:
        result = one.run("rollback", "--on", "knative", "--plain-http")
        assert result.exit_code == 0, result.output
        serving = open_location(f"{repository}:serving", access).resolve()
        assert image == f"{repository}@{serving.digest}"
        assert f"{repository}:serving names its container image" in result.stderr
    one.write_project(job={"repository": "registry.invalid/rolled-back"})
    assert "serving" not in one.run("rollback", "--on", "knative").stderr, "another repository"


def test_a_rollout_is_rolled_back_by_audit_images_that_both_artifacts_in_the_registry_answer(
    one: Sites, registry: LocalRegistry, tmp_path: Path
):
    def swap(at: Path) -> None:
        (at / LABELS).write_text("green\nblue\nred\n")

    repository, images = f"{registry.host}/audited", []
    old = write_graph_artifact(tmp_path / "old", version="1")
    new = write_graph_artifact(tmp_path / "new", version="2", change=swap, labels=("green", "blue", "red"))
    for artifact in (old, new):
        name = artifact.path.name
        push(artifact, f"{repository}:{name}", tmp_path / f"push-{name}")
        images.append(f"{repository}@{open_location(f'{repository}:{name}', Access(plain_http=True)).resolve().digest}")
        deploy(one, images[-1])
    assert one.run("reconcile").exit_code == 0
    (tmp_path / "photos").mkdir()
    judge = ("rollout", "--audit", "--plain-http", "--on", "knative")
    assert "no photo of the audit sample is labelled" in one.run(*judge).stderr
    book = LabelBook(tmp_path / "photos")
    for number, label in enumerate(["blue", "green"] * 8 + ["red"] * 2):
        file = book.add_photo("photo.png", encode_png(COLOURS[label], (20 + number, 12)), audit=True)
        book.put({file: label}, who="ann")
    result = one.run(*judge)
    assert result.exit_code == 0, result.output
    assert f"{FIRST}: right on 18 of 18 audit images" in result.stderr
    assert "on 18 audit images the new model is wrong on 16" in result.stderr
    assert one.run("reconcile").exit_code == 0
    assert one.served("s000") == {FIRST: 100}
    mark = tmp_path / "run"
    code = write_graph_artifact(
        tmp_path / "code", version="3", change=lambda at: (at / HANDLER).write_text(f"open({str(mark)!r}, 'w')\n")
    )
    push(code, f"{repository}:code", tmp_path / "push-code")
    deploy(one, f"{repository}@{open_location(f'{repository}:code', Access(plain_http=True)).resolve().digest}")
    assert one.run("reconcile").exit_code == 0
    refused = one.run(*judge)
    assert "handler.py, which is not run here" in str(refused.exception)
    assert not mark.exists()


def test_a_trigger_for_predictions_of_another_task_is_named(one: Sites, registry: LocalRegistry, tmp_path: Path):
    labels = {ARTIFACT_LABEL: f"sha256:{'a' * 64}", TASK_LABEL: "anomaly"}
    layout, index = small_index(tmp_path, labels=(labels,), architectures=("amd64",))
    repository = f"{registry.host}/inspects"
    copy_image(layout, open_location(repository, Access(plain_http=True)).store, index, name="v1")
    one.write_project(triggers=[{"name": "hub", "url": "http://hub.example/", "filter": {"type": IMAGE_CLASSIFIED}}])
    said = one.run("diff", f"{repository}@{index.digest}", "--on", "knative", "--plain-http").stderr
    assert f"predictions have the type {IMAGE_INSPECTED}, and don't pass {IMAGE_CLASSIFIED}" in said


def test_without_an_eaves_yaml_every_rollout_of_the_namespace_continues(one: Sites):
    deploy(one)
    deploy(one, OTHER)
    (one.folder / "eaves.yaml").unlink()
    result = one.run("reconcile", "--namespace", "eaves")
    assert result.exit_code == 0
    assert result.stderr == f"flowers: {FIRST} 90 %, {SECOND} 10 %: advancing: the revision is ready\n"
    result = one.run("reconcile", "--namespace", "eaves", "-o", "json")
    (row,) = json.loads(result.stdout)
    assert (row["site"], row["state"]) == ("here", "done")
    assert one.run("reconcile", "--namespace", "default").stderr == "the namespace has no functions\n"


def test_status_logs_send_and_remove(one: Sites, knative: Knative):
    result = one.run("status", "--on", "knative")
    assert "no function is deployed at the site" in result.stderr
    deploy(one)
    knative.run(FIRST, "pod", "ready", "predicted")
    (row,) = json.loads(one.run("status", "--on", "knative", "-o", "json").stdout)
    assert (row["site"], row["name"], row["state"], row["replicas"]) == ("s000", "flowers", "ready", 1)
    assert row["traffic"] == [f"{FIRST} 100 %"]
    assert one.run("logs", "flowers", "--on", "knative").stdout == "ready\npredicted\n"
    refused = one.run("logs", "-f", "flowers.inbox", "--on", "knative").exception
    assert isinstance(refused, EavesError)
    assert refused.hint == "kubectl logs --follow --prefix --selector eaves.dev/app=flowers"
    image = one.folder / "a.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n")
    (sent,) = json.loads(one.run("send", str(image), "--on", "knative", "-o", "json").stdout)
    assert (sent["label"], sent["image"]) == ("daisy", str(image))
    knative.functions["flowers"] = refuse(422, "it is no image", "send a PNG")
    result = one.run("send", str(image), "--on", "knative")
    assert result.stderr == f"error: {image}: it is no image (try: send a PNG)\n"
    assert isinstance(result.exception, EavesError)
    assert one.run("remove", "flowers", "--on", "knative").stderr == "removed flowers\n"
    assert one.deployed() == []


def test_what_kubectl_applied_is_removed_once_it_is_shown_and_agreed_to(one: Sites, knative: Knative):
    assert one.run("render", IMAGE, "--offline", "--output", str(one.folder / "rendered")).exit_code == 0
    for path in sorted((one.folder / "rendered").glob("*.yaml")):
        knative.server.put(yaml.safe_load(path.read_text()), manager="kubectl", namespace=knative.namespace)
    refused = one.run("remove", "flowers", "--on", "knative").exception
    assert isinstance(refused, ConflictError)
    asked = one.run(*find_typed(refused, "--adopt"))
    assert (asked.exit_code, "add --yes" in asked.stderr) == (2, True)
    assert f"s000: Service {knative.namespace}/flowers\n" in asked.stderr
    assert one.deployed() == ["s000"]
    assert one.run("remove", "flowers", "--on", "knative", "--adopt", "--yes").exit_code == 0
    assert one.deployed() == []
    assert one.run("remove", "flowers", "--adopt").exit_code == 2, "it is for clusters"
