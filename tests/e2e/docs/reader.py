"""What the reader of a page about a cluster has: values for the page's variables, and the commands of earlier pages."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.container_images.packaging import build_base
from tests.docs.blocks.block import Block
from tests.e2e.docs.services import forward_registry, push_display, serve_wheels
from tests.e2e.places import Namespaces
from tests.inputs.artifacts import copy_artifact
from tests.inputs.certificates import make_certificate
from tests.ports import find_ports

SMALL = {
    "EAVES_PLAIN_HTTP": "yes",
    "EAVES_JOB_WORK_SIZE": "1Gi",
    "EAVES_TRAIN_ARCH": "small_cnn",
    "EAVES_TRAIN_EPOCHS": "4",
    "EAVES_TRAIN_IMAGE_SIZE": "32",
}
"""Environment of the reader: a registry without TLS, a small cluster, and trainings that end within a test."""
JOB = {
    "EAVES_PLAIN_HTTP": "yes",
    "EAVES_TRAIN_ARCH": "small_cnn",
    "EAVES_TRAIN_EPOCHS": "8",
    "EAVES_TRAIN_IMAGE_SIZE": "32",
    "EAVES_CONVERT_PRECISION": "fp32",
}
"""The same for the Job of a pipeline."""


class Values:
    """Values of the variables that pages about a cluster set; made when a page has the variable.

    Args:
        request: Request of the test, for the fixtures of clusters and container images.
        folder: For files that the reader has beside the project.
        artifact: The artifact in the reader's folder, if there is one.
    """

    def __init__(self, request: pytest.FixtureRequest, folder: Path, artifact: Path) -> None:
        self._fixture: Callable[[str], object] = request.getfixturevalue
        self._folder, self._artifact = folder, artifact
        self._port, self._broker_port = find_ports(2)
        self._names: dict[str, str] = {}

    def build(self, blocks: list[Block]) -> dict[str, str]:
        """The values for the variables of these blocks."""
        text = "".join(block.text for block in blocks if "values" in block.marks)
        makers: Mapping[str, Callable[[], str]] = {
            "NAMESPACE": lambda: self._namespace("page"),
            "CLOUD": lambda: self._namespace("cloud"),
            "REGISTRY": self._registry,
            "POD_REGISTRY": self._pod_registry,
            "POD_BASE": self._pod_base,
            "BASE": self._base,
            "ARTIFACT": lambda: "artifacts/latest",
            "NEXT_ARTIFACT": self._next_artifact,
            "AGENT_IMAGE": lambda: self._text("agent_image"),
            "CONSOLE_IMAGE": lambda: self._text("console_image"),
            "TRAINER_IMAGE": lambda: self._text("trainer_image"),
            "DISPLAY_IMAGE": lambda: push_display(self._registry(), self._folder / "display"),
            "RECEIVER": lambda: f"https://{self._receiver()}",
            "CERTIFICATE": self._certificate,
            "MQTT_CA": lambda: f"{self._certificate()}/ca.crt",
            "SETTINGS": self._settings,
            "PORT": lambda: str(self._port),
            "BROKER_PORT": lambda: str(self._broker_port),
        }
        return {name: make() for name, make in makers.items() if f"\n{name}=" in f"\n{text}"}

    def _text(self, fixture: str) -> str:
        return str(self._fixture(fixture))

    def _namespaces(self) -> Namespaces:
        found = self._fixture("namespaces")
        assert isinstance(found, Namespaces)
        return found

    def _namespace(self, what: str) -> str:
        return self._names.setdefault(what, self._namespaces().name(what))

    def _registry(self) -> str:
        """Repositories of this run's own: a pipeline compares a model with the one that it finds there."""
        return f"{self._text('registry')}/{self._namespaces().prefix}"

    def _receiver(self) -> str:
        return f"receiver.{self._namespace('cloud')}.svc"

    def _certificate(self) -> str:
        folder = self._folder / "certificate"
        certificate, key = make_certificate(folder, self._receiver())
        for name, source in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", certificate)):
            shutil.copyfile(source, folder / name)
        return str(folder)

    def _base(self) -> str:
        build_base(self._folder / "base", plain=True)
        return f"oci:{self._folder}/base:base"

    def _next_artifact(self) -> str:
        """The same model as another version, and so another container image."""
        return str(copy_artifact(self._artifact, self._folder / "next", version="2"))

    def _pod_registry(self) -> str:
        if "POD_REGISTRY" not in self._names:
            cluster = self._namespaces().open("registry", labels={})
            self._names["POD_REGISTRY"] = forward_registry(cluster, self._registry(), self._text("image"))
        return self._names["POD_REGISTRY"]

    def _pod_base(self) -> str:
        """The agents' container image: it has the trainer's Python and is at the registry already."""
        path = self._text("agent_image").partition("/")[2]
        return f"{self._pod_registry().partition('/')[0]}/{path}"

    def _settings(self) -> str:
        """What the pipeline's Job needs beside what the page says: a small training, and wheels without an index."""
        cluster = self._namespaces().open("wheels")
        minor = self._text("trainer_python").rpartition(".")[0]
        pip = serve_wheels(cluster, self._text("image"), minor, self._folder / "wheels")
        path = self._folder / "job.env"
        path.write_text("".join(f"{name}={value}\n" for name, value in {**JOB, **pip}.items()))
        return str(path)
