"""Evaluates a running function over HTTP, such as `eaves up`'s /functions/NAME or the URL of a Knative Service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from converters.evaluation.artifact_model import read_best
from converters.evaluation.model import FUNCTION_HINT, ImagePrediction
from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.credentials.folder import read_authorization
from eaves.delivery.client import HttpAnswer, SinkClient
from eaves.errors import ArtifactError, DeliveryError, ImageError
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.media_type import UNKNOWN, sniff
from eaves.web.problem_document import parse_problem

TIMEOUT_S = 120.0
"""Seconds to wait for one answer; a function that starts from zero first loads its model."""
BUSY_S = 60.0
"""Maximum seconds for which an image is sent again while the function answers that it has no capacity."""
PAUSE_S = 1.0
BUSY = (429, 503)
REFUSED = (400, 413, 415, 422)
"""HTTP statuses with which a function answers when it can't use the image. Source: docs/04-functions.md, the table of
answers."""


class FunctionModel:
    """A function at a URL.

    Args:
        url: URL that images are posted to.
        client: HTTP client that posts the images.
        token_file: File with the bearer token that is sent with each image; None for none.
        clock: Clock that deadlines are measured with.
    """

    kind = "function"
    labels: tuple[str, ...] | None = None
    trained_on: frozenset[str] | None = None
    run: Path | None = None
    is_balanced: bool | None = None

    def __init__(self, url: str, client: SinkClient, *, token_file: Path | None = None, clock: Clock = SYSTEM) -> None:
        self.name = url
        self._clock = clock
        self._url = url
        self._client = client
        self._authorization = read_authorization(token_file)

    def classify(self, data: bytes) -> ImagePrediction:
        """Post one encoded image and read the answer.

        Raises:
            ImageError: The function refuses the image.
            ArtifactError: The answer holds no predictions.
            DeliveryError: The function doesn't answer.
        """
        answer = self._post(data)
        if answer.status in REFUSED:
            raise ImageError(_detail(answer))
        if answer.status // 100 != 2:
            raise DeliveryError(
                f"{self._url} answered {answer.status}: {_detail(answer)}", hint="check that the function runs"
            )
        try:
            document = json.loads(answer.body)
            predictions = document["predictions"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ArtifactError(f"the answer of {self._url} has no predictions", hint=FUNCTION_HINT) from error
        return read_best(predictions, answer.latency_ms)

    def _post(self, data: bytes) -> HttpAnswer:
        media_type = sniff(data)
        headers = {"Content-Type": "image/*" if media_type == UNKNOWN else media_type, **self._authorization}
        deadline = self._clock.monotonic() + BUSY_S
        while True:
            answer = self._client.exchange("POST", self._url, headers=headers, body=data, timeout_s=TIMEOUT_S)
            if answer.status not in BUSY or self._clock.monotonic() + PAUSE_S > deadline:
                return answer
            StopFlag(self._clock).wait(PAUSE_S)


@contextmanager
def open_function(url: str, proxies: Proxies = DIRECT, token_file: Path | None = None) -> Iterator[FunctionModel]:
    """Open a client of the function at `url`.

    Args:
        url: URL that images are posted to.
        proxies: HTTP proxies of the process.
        token_file: File with the bearer token that is sent with each image; None for none.
    """
    with SinkClient(connections=1, proxies=proxies) as client:
        yield FunctionModel(url, client, token_file=token_file)


def _detail(answer: HttpAnswer) -> str:
    """Return why a function failed: the detail of the problem document, or else the beginning of the answer's body."""
    detail = str(parse_problem(answer.body).get("detail") or "")[:200]
    return detail or answer.body[:200].decode(errors="replace") or "no reason given"
