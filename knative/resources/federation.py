"""Builders of the CronJobs of `eaves federate`: one at each site, and one beside the receiver, which collects.

Both may end at any time and continue at their next run: what was done is on a volume. Neither has access to the
cluster, and nobody can connect to them. Their artifact is that of the function's container image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eaves.base.names import ADDRESS_OR_NONE, NAME, NAME_OR_NONE, OBJECT_OR_NONE
from eaves.config import setting
from eaves.link.client import check_receiver
from eaves.platform.quantities import QUANTITY
from knative.client.kinds import CLAIM, CRON_JOB, Manifest
from knative.resources.metadata import INSTANCE_LABEL, PART_LABEL
from knative.resources.pod import (
    CREDENTIALS_FOLDER,
    USER,
    Mounted,
    build_credentials,
    build_env,
    build_environment,
    build_login,
    build_pod,
    build_security,
    load_fragment,
)
from knative.resources.standalone_servers import RECEIVED, RECEIVER_PART, StandaloneDeployment
from knative.settings import Faults

PART = "federation"
COMMAND = ("python", "-P", "-m", "eaves.cli", "federate")
MODEL, IMAGES, STATE = "/model", "/images", "/state"
COPY = f"import shutil; shutil.copytree('/artifact', '{MODEL}/artifact')"
RESOURCES = {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationDeployment(StandaloneDeployment):
    """Settings of a CronJob of a site, or of the one that collects if no site is given."""

    name: str = setting("federation", "Name of the objects.", form=NAME)
    image: str = setting("", "The trainer's container image by digest.")
    function_image: str = setting("", "The function's container image by digest; its artifact is used.")
    schedule: str = setting("17 2 * * *", "When to run, as cron has it, in UTC.")
    options: tuple[str, ...] = setting(
        (), "Further options of `eaves federate site` or `collect`, such as --minimum=50, separated by commas."
    )
    site: str = setting("", "Name of the site; empty: collect what sites have sent.", form=NAME_OR_NONE)
    images_claim: str = setting(
        "", "At a site: PersistentVolumeClaim with labelled images, a folder for each class.", form=OBJECT_OR_NONE
    )
    relay: str = setting(
        "", "At a site: address of the relay's Service, such as http://flowers-relay.", form=ADDRESS_OR_NONE
    )
    to: str = setting("", "At a site: address of the receiver, https://HOST[:PORT].")
    credentials_secret: str = setting(
        "", "At a site: Secret with the relay's credentials, `token` and perhaps `ca.crt`.", form=OBJECT_OR_NONE
    )
    state_size: str = setting("1Gi", "At a site: size of the volume for the sums and what was released.", form=QUANTITY)
    receiver: str = setting(
        "receiver", "Beside a receiver: its name; its volume for received events gets the artifacts, too.", form=NAME
    )
    work_size: str = setting(
        "2Gi",
        "Beside a receiver: maximum size of temporary files; with --to, a container image is built.",
        form=QUANTITY,
    )
    secret: str = setting(
        "",
        "Beside a receiver: Secret whose entries become environment variables, such as PIP_INDEX_URL.",
        form=OBJECT_OR_NONE,
    )
    push_secret: str = setting(
        "",
        "Beside a receiver: Secret of the type kubernetes.io/dockerconfigjson with which --to pulls and pushes "
        "container images.",
        form=OBJECT_OR_NONE,
    )

    def faults(self) -> Faults:
        """Yield violations of rules that concern several fields, as (field, message)."""
        yield from StandaloneDeployment.faults(self)
        yield from self.image_faults("function_image")
        if not self.site:
            return
        yield from self.secret_faults("credentials_secret")
        yield from ((name, "must be set for a site") for name in ("images_claim", "relay") if not getattr(self, name))
        if fault := check_receiver(self.to):
            yield "to", fault


def build_federation(wanted: FederationDeployment) -> Iterator[Manifest]:
    """Build the objects of a site's CronJob, or of the one that collects, in the order of applying."""
    workload = wanted.build_workload(PART)
    yield workload.build_policy()
    if wanted.site:
        storage = {"requests": {"storage": wanted.state_size}}
        yield workload.build(CLAIM, {"accessModes": ["ReadWriteOnce"], "resources": storage})
    pod = _build_pod(wanted, *(_describe_site(wanted) if wanted.site else _describe_collector(wanted)))
    job = {"backoffLimit": 0, "template": workload.build_template(pod)}  # the next run repeats what has failed
    history = {"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 3}
    run = {"schedule": wanted.schedule, "timeZone": "Etc/UTC", "concurrencyPolicy": "Forbid"}
    yield workload.build(CRON_JOB, {**run, **history, "jobTemplate": {"spec": job}})


def _build_pod(wanted: FederationDeployment, arguments: list[str], folders: list[Mounted], place: Manifest) -> Manifest:
    mount = {"name": "model", "mountPath": MODEL}
    copying = {
        "name": "artifact",
        "image": wanted.function_image,
        "command": ["python", "-c", COPY],
        "resources": RESOURCES,
        "securityContext": build_security(),
        "volumeMounts": [mount],
    }
    return build_pod(
        PART,
        wanted.image,
        load_fragment(wanted.pod),
        command=COMMAND,
        args=[*arguments, f"--artifact={MODEL}/artifact", *wanted.options],
        resources=RESOURCES,
        folders=[({"name": "model", "emptyDir": {}}, {**mount, "readOnly": True}), *folders],
        initContainers=[copying],
        restartPolicy="Never",
        securityContext={"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"},
        **place,
    )


def _describe_site(wanted: FederationDeployment) -> tuple[list[str], list[Mounted], Manifest]:
    """Return the arguments of a site, and its folders."""
    places = {"images": IMAGES, "credentials": CREDENTIALS_FOLDER, "state": STATE}
    given = {"site": wanted.site, "relay": wanted.relay, "receiver": wanted.to, **places}
    folders = [
        _mount("images", wanted.images_claim, IMAGES, readOnly=True),
        _mount("state", wanted.name, STATE),
        build_credentials(wanted.credentials_secret),
    ]
    return ["site", *(f"--{name}={value}" for name, value in given.items())], folders, {}


def _describe_collector(wanted: FederationDeployment) -> tuple[list[str], list[Mounted], Manifest]:
    """Return the arguments of a collector, its folders, and further fields.

    Its place is beside the receiver, since a volume can be mounted on one node only.
    """
    selector = {"matchLabels": {PART_LABEL: RECEIVER_PART, INSTANCE_LABEL: wanted.receiver}}
    beside = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [beside]}}
    arguments = ["collect", f"--folder={RECEIVED}", f"--output={RECEIVED}/artifacts"]
    variables, logins = build_login(wanted.push_secret)
    given = {"env": build_env(variables), "container": build_environment(wanted.secret)}
    folders = [_mount("received", f"received-{wanted.receiver}-0", RECEIVED), *logins]
    return arguments, folders, {"affinity": affinity, "temporary": wanted.work_size, **given}


def _mount(name: str, claim: str, folder: str, **options: bool) -> Mounted:
    """Build volume and mount of a PersistentVolumeClaim; both have the options."""
    volume = {"name": name, "persistentVolumeClaim": {"claimName": claim, **options}}
    return volume, {"name": name, "mountPath": folder, **options}
