"""A site's console as a person installs and opens it: `eaves console render`, kubectl, openssl and a port-forward."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.console.exposure import prepare_credentials
from knative.client.kinds import POD
from tests.container_images.packaging import need
from tests.e2e.harness import is_pod_ready
from tests.e2e.places import Place
from tests.https_browser import HttpsBrowser
from tests.waiting import wait_until

PASSWORD = "correct-horse-battery"


class SiteConsole:
    """A console in the namespace of a place.

    Args:
        place: The place.
        image: Container image of the console, by digest.
        folder: Folder for its files, which doesn't exist yet.
    """

    def __init__(self, place: Place, image: str, folder: Path) -> None:
        self.place = place
        self._image = image
        self._folder = folder
        self.certificate = folder / "tls.crt"

    def kubectl(self, *words: str | Path) -> str:
        """Return what kubectl prints in the namespace."""
        command = self._kubectl(*words)
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    def install(self, *flags: str) -> None:
        """Render the objects, create the Secrets as the command advises, apply the files, and wait for the pod."""
        objects, certificate = self._folder / "objects", self.certificate
        prepare_credentials(self._folder, host="127.0.0.1")
        (self._folder / "password").write_text(f"{PASSWORD}\n")
        done = self._render(objects, *flags)
        advice = re.findall(r": kubectl -n \S+ (create secret .*?)(?:, or|$)", done.stderr, re.MULTILINE)
        assert len(advice) == 2, done.stderr
        for line in advice:
            text = line.replace("--cert=FILE", f"--cert={certificate}").replace(
                "--key=FILE", f"--key={self._folder}/tls.key"
            )
            self.kubectl(*text.replace("password=FILE", f"password={self._folder}/password").split())
        self.kubectl("apply", "-f", objects)
        wait_until(self.is_ready, 120, pause_s=0.5, what="the console's pod")

    def _render(self, objects: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "eaves.cli", "console", "render", "--image", self._image]
        command += ["--namespace", self.place.cluster.namespace, "-o", str(objects), *flags]
        environment = self.place.environment()
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)

    def may(self, verb: str, resource: str) -> bool:
        """Return whether the cluster lets the console do something."""
        account = f"system:serviceaccount:{self.place.cluster.namespace}:console"
        kind, _, part = resource.partition("/")  # kubectl takes what follows a slash for the name of an object
        command = self._kubectl("auth", "can-i", verb, kind, f"--subresource={part}", "--as", account)
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()
        assert answer in ("yes", "no"), answer
        return answer == "yes"

    def find_pod(self) -> dict[str, Any] | None:
        """Return the console's pod that isn't ending."""
        pods = self.place.cluster.list(POD, selector="app.kubernetes.io/component=console")
        return next((pod for pod in pods if "deletionTimestamp" not in pod["metadata"]), None)

    def is_ready(self) -> bool:
        """Return whether the console's pod is ready."""
        return is_pod_ready(self.find_pod())

    def read_log(self) -> str:
        """Return the log of the console."""
        return self.kubectl("logs", "deployment/console")

    @contextmanager
    def open(self) -> Iterator[HttpsBrowser]:
        """Forward a port to the pages, and log in."""
        command = self._kubectl("port-forward", "service/console", ":443")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout is not None
                said = process.stdout.readline()
                found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", said)
                assert found, said
                browser = HttpsBrowser(int(found[1]), self.certificate)
                assert browser.ask("GET", "/")[0] in (303, 401)
                assert browser.log_in(PASSWORD) == 303
                yield browser
            finally:
                process.terminate()

    def _kubectl(self, *words: str | Path) -> list[str]:
        where = ["--namespace", self.place.cluster.namespace]
        where += ["--kubeconfig", str(self.place.kubeconfig.absolute())] if self.place.kubeconfig else []
        return [need("kubectl"), *where, *map(str, words)]
