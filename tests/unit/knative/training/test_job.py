"""Trainings as Kubernetes objects: golden files, the API's schemas, and what a Job's name hangs on."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converters.settings import ConvertSettings
from eaves.base.telemetry import TELEMETRY_OFF
from eaves.config import iter_leaves
from eaves.config.complete import load_sections
from eaves.errors import Fault
from knative.resources.metadata import RUN_LABEL
from knative.resources.rendering import to_yaml
from knative.settings import JobSettings, KnativeSettings
from knative.training.job import (
    TrainingJob,
    build_binding,
    build_dataset_trigger,
    build_job,
    build_jobsink,
    find_faults,
    render_training,
)
from knative.training.run_download import build_reader
from tests.cluster.manifests import pod_templates, restricted_faults, validate
from trainer.lifecycle import EXIT_CODES
from trainer.settings import DataSettings, TrainSettings

GOLDEN = Path(__file__).parent / "golden"
IMAGE = "registry.example/eaves-trainer@sha256:" + "1" * 64
BASE = "registry.example/python@sha256:" + "2" * 64
BARE = TrainingJob(
    name="flowers",
    site="home",
    data=DataSettings(path="s3://photos/flowers"),
    train=TrainSettings(),
    job=JobSettings(output="s3://models/runs"),
    knative=KnativeSettings(trainer_image=IMAGE),
)
FULL = TrainingJob(
    name="flowers",
    site="barn",
    namespace="eaves",
    data=DataSettings(path="photos", balance="none", allowed_prefixes=("s3://photos/barn", "s3://photos/yard")),
    train=TrainSettings(mode="full", epochs=5, batch_size=16),
    convert=ConvertSettings(precision="fp32", calibration_images=7),
    job=JobSettings(
        data="s3://photos/flowers",
        output="s3://models/runs/",
        secret="storage",
        pod={
            "serviceAccountName": "trainer",
            "resources": {
                "requests": {"cpu": "8", "memory": "16Gi"},
                "limits": {"memory": "24Gi", "nvidia.com/gpu": "1"},
            },
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "tolerationSeconds": "30"}],
        },
        work_size="50Gi",
        queue="trainings",
        retries=6,
        deadline_s=36000,
        ttl_s=3600,
        grace_s=120,
        repository="registry.example/flowers",
        base=BASE,
        platforms=("linux/amd64", "linux/arm64"),
        push_secret="registry",
    ),
    knative=KnativeSettings(trainer_image=IMAGE, pod={"imagePullSecrets": [{"name": "registry"}]}, broker="events"),
)
ON_VOLUMES = replace(
    BARE,
    train=TrainSettings(weights="/data/notop.weights.h5"),
    job=JobSettings(data_claim="photos", data="flowers", output_claim="models", work_claim="work"),
)
IN_PARTS = replace(BARE, train=TrainSettings(mode="sums"), job=replace(BARE.job, pods=8))
JOB = {"metadata": {"name": "flowers-train-0123456789", "uid": "0b0e6e0c-7d5a-4b0e-9d3c-0e6f0a6a1c11"}}
MANIFESTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "job": lambda: build_job(BARE),
    "job-pods": lambda: build_job(IN_PARTS),
    "job-volumes": lambda: build_job(ON_VOLUMES),
    "pipeline": lambda: build_job(FULL, publishes=True),
    "pipeline-binding": lambda: build_binding(FULL),
    "jobsink": lambda: build_jobsink(replace(FULL, job=replace(FULL.job, repository=""))),
    "jobsink-pipeline": lambda: build_jobsink(FULL),
    "jobsink-trigger": lambda: build_dataset_trigger(FULL),
    "reader": lambda: build_reader(ON_VOLUMES, "flowers-0123456789-read-abcd", JOB),
}


def test_an_object_is_as_it_was_read_and_approved():
    """Write it anew with the variable EAVES_WRITE_GOLDEN."""
    for name, build in MANIFESTS.items():
        made, golden = to_yaml(build()), GOLDEN / f"{name}.yaml"
        if os.environ.get("EAVES_WRITE_GOLDEN"):
            golden.write_text(made)
        assert made == golden.read_text(), name


def test_an_object_is_valid_and_passes_restricted_pod_security(shared: Path):
    for build in MANIFESTS.values():
        made = build()
        validate(made, shared)
        for template in pod_templates(made):
            assert restricted_faults(template) == []
            assert template["spec"]["automountServiceAccountToken"] is False
            for container in template["spec"]["containers"]:
                assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_every_way_a_training_ends_has_its_rule():
    rules = build_job(BARE)["spec"]["podFailurePolicy"]["rules"]
    assert rules[0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    actions = {code: rule["action"] for rule in rules[1:] for code in rule["onExitCodes"]["values"]}
    for ending in EXIT_CODES:
        assert actions.get(ending.code, "Count") == (ending.action or "Count")


def name_of(training: TrainingJob) -> str:
    name: str = build_job(training)["metadata"]["name"]
    return name


def test_the_same_training_has_the_same_name_and_run():
    assert name_of(BARE) == name_of(replace(BARE))
    later = replace(BARE, job=replace(BARE.job, ttl_s=1, retries=1, deadline_s=9))
    assert name_of(later) == name_of(BARE), "what the API server lets change doesn't count"


def test_another_training_is_another_job_and_another_run():
    for other in (
        replace(BARE, train=TrainSettings(epochs=7)),
        replace(BARE, data=DataSettings(path="s3://photos/flowers", balance="none")),
        replace(BARE, knative=KnativeSettings(trainer_image=IMAGE.replace("1" * 64, "3" * 64))),
        replace(BARE, run="with-roses"),
    ):
        assert name_of(other) != name_of(BARE)
        assert other.run_name != BARE.run_name


def test_the_longest_name_fits():
    longest = replace(FULL, name="a" * 40)
    for manifest in (build_job(longest), build_job(longest, publishes=True), build_jobsink(longest)):
        name = manifest["metadata"]["name"]
        assert len(f"{name}-99") <= 63
        assert len(manifest["metadata"]["labels"].get(RUN_LABEL, "")) <= 63


def settings_of(container: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a container's `--settings` tells, as the process in it reads it."""
    (text,) = (word.removeprefix("--settings=") for word in container["args"] if word.startswith("--settings="))
    return load_sections(text)


def container_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    (container,) = spec["template"]["spec"]["containers"]
    return dict(container)


def test_a_job_tells_every_setting_those_at_their_defaults_too():
    container = container_of(build_job(BARE)["spec"])
    names = {variable["name"] for variable in container["env"]}
    assert names == {*TELEMETRY_OFF, "EAVES_WORK", "KERAS_HOME"}
    reported = settings_of(container)
    assert set(reported) == {"data", "train"}
    assert set(reported["train"]) == {leaf.path for leaf in iter_leaves(TrainSettings)}
    assert set(reported["data"]) == {leaf.path for leaf in iter_leaves(DataSettings)}
    assert reported["train"]["epochs"] == TrainSettings().epochs
    assert reported["data"]["path"] == "s3://photos/flowers"


def test_a_pipeline_tells_the_conversion_and_what_it_asks_of_a_model_too():
    reported = settings_of(container_of(build_job(FULL, publishes=True)["spec"]))
    assert set(reported["convert"]) == {leaf.path for leaf in iter_leaves(ConvertSettings)}
    assert reported["pipeline"] == {"floor": 0.0, "class_floor": 0.5, "max_accuracy_drop": 5.0}
    by_event = settings_of(container_of(build_jobsink(FULL)["spec"]["job"]["spec"]))
    assert "path" not in by_event["data"], "the event names it"
    assert by_event["data"]["allowed_prefixes"] == ["s3://photos/barn", "s3://photos/yard"]


def test_nothing_in_the_settings_is_replaced_by_kubernetes():
    grouped = replace(BARE, data=replace(BARE.data, group_by="name:$(HOME)(part)"))
    container = container_of(build_job(grouped)["spec"])
    assert not any("$" in word for word in container["args"])
    assert settings_of(container)["data"]["group_by"] == "name:$(HOME)(part)"


def test_a_password_or_a_signature_never_gets_into_a_job():
    lacking = replace(
        BARE,
        data=DataSettings(path="https://photos.example/flowers.zip?signature=c2VjcmV0"),
        train=TrainSettings(weights="https://me:secret@weights.example/notop.weights.h5"),
    )
    faults = reported(list(find_faults(lacking)))
    assert set(faults) == {"job.data", "train.weights"}
    assert "c2VjcmV0" not in str(faults)
    assert "secret@" not in str(faults)


def reported(faults: list[Fault]) -> dict[str, str]:
    return {fault.path: fault.message for fault in faults}


def test_what_a_cluster_lacks_is_reported_all_at_once():
    lacking = replace(
        BARE,
        data=DataSettings(path="photos"),
        train=TrainSettings(weights="notop.weights.h5"),
        job=JobSettings(),
        knative=KnativeSettings(),
    )
    faults = reported(list(find_faults(lacking)))
    assert set(faults) == {"knative.trainer_image", "job.output", "job.data", "train.weights"}
    assert "'photos' is a path on this machine" in faults["job.data"]
    assert list(find_faults(BARE)) == list(find_faults(ON_VOLUMES)) == []


def test_only_trainings_by_sums_have_several_pods():
    anomaly = replace(IN_PARTS, train=TrainSettings(task="anomaly"))
    assert list(find_faults(IN_PARTS)) == list(find_faults(anomaly)) == []
    assert set(reported(list(find_faults(replace(IN_PARTS, train=TrainSettings()))))) == {"job.pods"}
    assert IN_PARTS.run_name == replace(IN_PARTS, job=BARE.job).run_name, "they resume what one pod has begun"


def test_a_pipeline_wants_a_place_to_push_and_a_base():
    lacking = replace(BARE, convert=ConvertSettings(handler="handler.py"))
    assert set(reported(list(find_faults(lacking, "pipeline")))) == {"job.repository", "job.base", "convert.handler"}
    assert list(find_faults(FULL, "pipeline")) == []


def test_a_jobsink_wants_to_know_whom_to_trust_and_takes_the_data_from_the_event():
    unsaid = replace(BARE, data=DataSettings(path="photos"))
    assert set(reported(list(find_faults(unsaid, "jobsink")))) == {"data.allowed_prefixes"}
    assert list(find_faults(FULL, "jobsink")) == []


@pytest.mark.parametrize(
    ("repository", "tag"),
    [
        ("registry.example:5000/flowers", "registry.example:5000/flowers:{version}"),
        ("registry.example/flowers:stable", "registry.example/flowers:stable"),
    ],
)
def test_a_container_images_tag_is_the_models_version_unless_given(repository: str, tag: str):
    pipeline = build_job(replace(FULL, job=replace(FULL.job, repository=repository)), publishes=True)
    assert f"--tag={tag}" in pipeline["spec"]["template"]["spec"]["containers"][0]["args"]


@pytest.mark.parametrize(
    ("training", "kind", "expected"),
    [
        (FULL, "jobsink", ["SinkBinding", "JobSink", "Trigger"]),
        (replace(FULL, job=replace(FULL.job, sink="http://sink.example/")), "pipeline", ["Job"]),
        (replace(FULL, job=replace(FULL.job, repository="")), "jobsink", ["JobSink", "Trigger"]),
    ],
)
def test_what_others_need_is_rendered_first(training: TrainingJob, kind: str, expected: list[str]):
    assert [manifest["kind"] for manifest in render_training(training, kind)] == expected
