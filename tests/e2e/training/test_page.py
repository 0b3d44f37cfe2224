"""A training in a cluster that the page of an `eaves up` starts: its run comes here, is converted and judged.

The cluster is that of `KUBECONFIG`, and the run comes from an object store, by the keys of `eaves up`'s environment.
"""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import pytest

from eaves.artifact.store import gate_file
from eaves.console.guard import FIELD
from eaves.local.jobs import ProjectJobs
from eaves.local.state import StateDirectory
from knative.client.kinds import JOB
from knative.resources.metadata import APP_LABEL
from knative.training.job_follower import find_ending
from tests.browser.served import run_platform
from tests.container_images.packaging import need
from tests.e2e.bucket_store import ANY_KEY, BUCKET, PORT, STORE, start_store
from tests.e2e.places import NAME, Place
from tests.e2e.pods import make_secret
from tests.e2e.training.test_jobs import TRAIN
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.inputs.artifacts import build_tiny_dataset
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)


@contextmanager
def forward_store(place: Place) -> Iterator[str]:
    """Address of the object store on this machine."""
    command = [need("kubectl"), "-n", place.cluster.namespace, "port-forward", f"pod/{STORE}", f":{PORT}"]
    command += ["--kubeconfig", str(place.kubeconfig.absolute())] if place.kubeconfig else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.match(r"Forwarding from (127\.0\.0\.1:\d+)", process.stdout.readline())
            assert found
            yield f"http://{found[1]}"
        finally:
            process.terminate()


def press_train(address: str) -> None:
    """Press "Train in the cluster" on the page Labels."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    page = browser.open(f"{address}labels", timeout=60).read().decode()
    assert "Train in the cluster" in page
    (token, *_) = re.findall(rf'name="{FIELD}" value="([^"]+)"', page)
    form = urlencode({FIELD: token, "where": "cluster"}).encode()
    assert browser.open(f"{address}labels/jobs/train", data=form, timeout=60).status == 200


def test_a_training_that_the_page_starts_in_the_cluster_becomes_a_model_that_is_judged_here(
    place: Place, image: str, trainer_image: str, s3_image: str
):
    photos = build_tiny_dataset(place.folder / "photos")
    make_claim(place.cluster, "data")
    files = {path.relative_to(photos).as_posix(): path.read_bytes() for path in sorted(photos.glob("*/*.png"))}
    put_files(place.cluster, claimed("data"), files, image)
    host = start_store(place.cluster, s3_image)
    key = {"AWS_ACCESS_KEY_ID": ANY_KEY["access_key"], "AWS_SECRET_ACCESS_KEY": ANY_KEY["secret_key"]}
    make_secret(place.cluster, "storage", {**key, "AWS_ENDPOINT_URL": f"http://{host}"})
    place.configure(
        train={**TRAIN, "epochs": 12},
        convert={"precision": "fp32"},
        job={
            "namespace": place.cluster.namespace, "data_claim": "data", "output": f"s3://{BUCKET}/runs",
            "secret": "storage", "work_size": "1Gi", "retries": 1,
            "pod": {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}}},
        },
        knative={"trainer_image": trainer_image},
    )  # fmt: skip
    kubeconfig = {"KUBECONFIG": str(place.kubeconfig.absolute())} if place.kubeconfig else {}
    jobs = ProjectJobs(place.folder, StateDirectory(root=place.folder / ".eaves"))
    with (
        forward_store(place) as store,
        run_platform(place.folder, **key, **kubeconfig, AWS_ENDPOINT_URL=store) as address,
    ):
        press_train(address)
        wait_until(lambda: jobs.status("train").ended, 600, pause_s=2, what="the training's end")
    status = jobs.status("train")
    assert (status.state, status.fault) == ("done", ""), status.lines
    (job,) = place.cluster.list(JOB, selector=f"{APP_LABEL}={NAME}")
    assert find_ending(job) == "Complete"
    assert (place.folder / "runs" / status.result["run"] / "report.html").is_file()
    answer = json.loads(gate_file(Path(status.result["artifact"])).read_text())
    assert answer["passed"] is True, answer
