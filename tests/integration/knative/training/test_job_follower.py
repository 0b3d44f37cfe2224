"""A training in a cluster, watched over a real HTTP connection that breaks: pods come, are lost, fail and finish."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import (
    ConfigError,
    ConflictError,
    InputError,
    PlatformError,
)
from knative.client.cluster import Cluster, open_cluster
from knative.settings import JobSettings, KnativeSettings
from knative.training.job import TrainingJob, build_job
from knative.training.job_follower import create_job, explain_failure, find_ending, follow_job
from tests.fakes.controllers.jobs import JobPlay
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, open_apiserver
from tests.waiting import wait_until
from trainer.settings import DataSettings, TrainSettings

TRAINING = TrainingJob(
    name="digits",
    site="home",
    data=DataSettings(path="s3://photos/digits"),
    train=TrainSettings(arch="small_cnn"),
    job=JobSettings(output="s3://models/runs"),
    knative=KnativeSettings(trainer_image="registry.example/eaves-trainer@sha256:" + "1" * 64),
)
JOB = build_job(TRAINING)
NAME: str = JOB["metadata"]["name"]


def step(done: int, total: int = 4, note: str = "") -> str:
    about = {"phase": "Training", "done": done, "total": total, "note": note}
    return json.dumps({**about, "time": f"2026-11-25T10:00:0{done}.000Z", "message": f"Training: {done} of {total}"})


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    with open_apiserver() as running:
        yield running


@pytest.fixture
def cluster(fake: FakeCluster, tmp_path: Path) -> Cluster:
    return open_cluster(kubeconfig=fake.kubeconfig(tmp_path / "kubeconfig"))


class Watcher:
    """Follows the Job in a thread of its own.

    Attributes:
        texts: What the training wrote.
        said: Messages about the Job.
        result: The Job in the end, or the error.
    """

    def __init__(self, cluster: Cluster, pool: ThreadPoolExecutor, **options: float) -> None:
        self.texts: list[str] = []
        self.said: list[str] = []
        self.result: Future[dict[str, Any]] = pool.submit(
            follow_job, cluster, NAME, on_line=self.texts.append, notify=self.said.append, **options
        )

    def heard(self, text: str) -> None:
        wait_until(lambda: text in self.texts, 20, what=text)

    def reported(self, text: str) -> None:
        wait_until(lambda: any(text in one for one in self.said), 20, what=text)


@pytest.fixture
def watch(cluster: Cluster) -> Iterator[Callable[..., Watcher]]:
    with ThreadPoolExecutor() as pool:
        yield lambda **options: Watcher(cluster, pool, **options)


@pytest.fixture
def play(fake: FakeCluster, cluster: Cluster) -> JobPlay:
    create_job(cluster, JOB, again=False, notify=lambda text: None)
    return JobPlay(fake, NAME)


def test_a_log_is_read_to_its_end_each_line_once(play: JobPlay, watch: Callable[..., Watcher]):
    watcher = watch()
    pod = play.start(f"{NAME}-a")
    play.write(pod, "starting", step(1, note="loss 0.9"))
    watcher.heard("Training: 1 of 4")
    play.write(pod, step(2), step(3))
    watcher.heard("Training: 3 of 4")
    play.write(pod, step(4), "done")
    play.exit(pod, 0)
    play.end()
    assert find_ending(watcher.result.result(20)) == "Complete"
    assert watcher.texts == ["starting", *(f"Training: {done} of 4" for done in (1, 2, 3, 4)), "done"]


def test_a_pod_that_was_lost_and_the_one_that_continues(play: JobPlay, watch: Callable[..., Watcher]):
    watcher = watch()
    first = play.start(f"{NAME}-a")
    play.write(first, step(1))
    watcher.heard("Training: 1 of 4")
    play.exit(first, 75)
    second = play.start(f"{NAME}-b")
    play.write(second, "going on", step(2))
    watcher.heard("Training: 2 of 4")
    play.exit(second, 0)
    play.end()
    watcher.result.result(20)
    assert (
        f"{first} ended with 75 (the training was stopped after it had written a checkpoint); {second} continues"
        in watcher.said
    )


def test_of_pods_that_share_the_images_the_one_that_trains_is_followed(play: JobPlay, watch: Callable[..., Watcher]):
    watcher = watch()
    first, second = (play.start(f"{NAME}-{index}-a", index=index) for index in "01")
    play.write(second, "the sums of a part")
    play.write(first, step(1))
    watcher.heard("Training: 1 of 4")
    play.exit(second, 0)
    play.write(first, step(2))
    play.exit(first, 0)
    play.end()
    watcher.result.result(20)
    assert (watcher.texts, watcher.said) == (["Training: 1 of 4", "Training: 2 of 4"], [])


def test_why_a_pod_waits_is_reported_once(play: JobPlay, watch: Callable[..., Watcher]):
    reported = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no memory"}
    pod = play.start(f"{NAME}-a", phase="Pending", conditions=[reported])
    watcher = watch()
    watcher.reported("Unschedulable: 0/1 nodes: no memory")
    play.exit(pod, 0)
    play.end()
    watcher.result.result(20)
    assert len([text for text in watcher.said if "Unschedulable" in text]) == 1


def test_images_that_cant_be_used_end_with_the_trainers_own_words_and_code(cluster: Cluster, play: JobPlay):
    pod = play.start(f"{NAME}-a")
    play.write(pod, step(1), "error: s3://photos/digits has no images", "try: name a folder per class")
    play.exit(pod, 65)
    play.end("Failed", reason="PodFailurePolicy", message="Container trainer failed with exit code 65")
    job = follow_job(cluster, NAME, on_line=lambda line: None, notify=lambda text: None)
    error = explain_failure(cluster, job)
    assert isinstance(error, InputError)
    assert error.exit_code == 65
    assert error.message.splitlines() == [
        f"{NAME} failed: images, event or output can't be used (exit code 65 of {pod})",
        "s3://photos/digits has no images",
    ]
    assert error.hint is not None
    assert error.hint.startswith("name a folder per class; kubectl logs")
    assert "shows the whole log" in error.hint
    assert "eaves train --on knative --again" in error.hint


@pytest.mark.parametrize(
    ("code", "reason", "expected", "text"),
    [
        (78, "Error", ConfigError, "a setting is not valid"),
        (137, "OOMKilled", PlatformError, "more memory than its limit in job.pod.resources"),
        (1, "Error", PlatformError, "a defect of Eaves or a library"),
    ],
)
def test_each_way_to_fail_is_its_own_error(
    fake: FakeCluster, cluster: Cluster, play: JobPlay, code: int, reason: str, expected: type[Exception], text: str
):
    pod = play.start(f"{NAME}-a")
    play.write(pod, *(f"line {number}" for number in range(9)))
    play.exit(pod, code, reason=reason)
    play.end("Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit")
    error = explain_failure(cluster, fake.get("Job", NAME))
    assert isinstance(error, expected)
    assert text in error.message
    assert error.message.endswith("line 4\nline 5\nline 6\nline 7\nline 8")


def test_a_link_that_is_down_for_a_while_costs_nothing(fake: FakeCluster, play: JobPlay, watch: Callable[..., Watcher]):
    watcher = watch()
    pod = play.start(f"{NAME}-a")
    play.write(pod, step(1))
    watcher.heard("Training: 1 of 4")
    fake.fault = lambda request: Reply(status=0)  # closes the connection
    play.write(pod, step(2))
    watcher.reported("the cluster can't be reached")
    fake.fault = lambda request: None
    watcher.heard("Training: 2 of 4")
    play.exit(pod, 0)
    play.end()
    watcher.result.result(30)
    assert watcher.texts == ["Training: 1 of 4", "Training: 2 of 4"]


def test_who_may_not_read_logs_still_learns_how_it_ends(
    fake: FakeCluster, play: JobPlay, watch: Callable[..., Watcher]
):
    fake.denied = {("get", "pods/log")}
    watcher = watch()
    pod = play.start(f"{NAME}-a")
    watcher.reported("the log can't be read, so only the result is shown")
    play.exit(pod, 0)
    play.end()
    assert find_ending(watcher.result.result(20)) == "Complete"


def test_two_jobs_never_write_one_run(fake: FakeCluster, cluster: Cluster, play: JobPlay):
    larger = build_job(replace(TRAINING, job=replace(TRAINING.job, pod={"resources": {"requests": {"memory": "8Gi"}}})))
    with pytest.raises(ConflictError, match=f"the Job {NAME} is writing the run") as caught:
        create_job(cluster, larger, again=False, notify=lambda text: None)
    assert caught.value.hint == f"wait until it has ended, or stop it: kubectl delete job {NAME} -n default"
    play.end("Failed", reason="BackoffLimitExceeded")
    create_job(cluster, larger, again=False, notify=lambda text: None)
    assert len(fake.all("Job")) == 2


def test_a_job_that_failed_is_made_anew_only_when_asked(fake: FakeCluster, cluster: Cluster, play: JobPlay):
    play.end("Failed", reason="PodFailurePolicy")
    before = fake.get("Job", NAME)["metadata"]["uid"]
    said: list[str] = []
    create_job(cluster, JOB, again=False, notify=said.append)
    assert fake.get("Job", NAME)["metadata"]["uid"] == before
    create_job(cluster, JOB, again=True, notify=said.append)
    assert fake.get("Job", NAME)["metadata"]["uid"] != before
    create_job(cluster, JOB, again=True, notify=said.append)
    assert said == [
        f"the Job {NAME} exists already and has ended",
        f"the Job {NAME} was created in default of edge",
        f"the Job {NAME} exists already and is running",
    ]
