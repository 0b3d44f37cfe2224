"""Claim checks end to end: a folder, an agent, a store that checks signatures, a function, a sink; all real."""

import hashlib
import io
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from tests.contract.sinks import LocalSink, open_sink
from tests.object_store import REGION, ObjectStore, open_store
from tests.processes.agents import AgentProcess
from tests.processes.function import Function
from tests.waiting import wait_until

OVER_BYTES = 20_000


def picture(seed: int, *, size_bytes: int) -> bytes:
    """A JPEG that is padded to a size."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (seed % 256, 80, 40)).save(stream, "JPEG")
    return stream.getvalue().ljust(size_bytes, b"\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The whole chain.

    Attributes:
        store: The object store.
        agent: The agent, whose keys are in `agent_keys`.
        sink: Sink of the predictions.
        agent_keys: Folder of the agent's keys.
    """

    store: ObjectStore
    agent: AgentProcess
    sink: LocalSink
    agent_keys: Path

    def drop(self, name: str, data: bytes) -> None:
        """Let an image appear in the folder."""
        hidden = self.agent.inbox / f".{name}"
        hidden.write_bytes(data)
        hidden.rename(self.agent.inbox / name)

    def predictions(self, name: str) -> list[Event]:
        return [event for event in self.sink.received if event.subject == name and event.type == IMAGE_CLASSIFIED]

    def images(self, name: str) -> list[Event]:
        return [event for event in self.sink.received if event.subject == name and event.type == IMAGE_CAPTURED]


@pytest.fixture
def chain(tmp_path: Path, tiny_artifact: Path, start: Callable[..., Function]) -> Iterator[Chain]:
    with open_store() as store, open_sink() as sink:
        agent_keys = store.write_keys(tmp_path / "a")
        function = start(artifact=tiny_artifact)
        source = {
            "credentials": str(agent_keys),
            "claim_check_over_bytes": OVER_BYTES,
            "claim_check_bucket": "s3://photos/large",
            "claim_check_endpoint": store.endpoint,
            "claim_check_region": REGION,
        }
        port = wait_until(function.port, 60)
        agent = AgentProcess(
            tmp_path / "agent",
            sink.url,
            source=source,
            EAVES_FUNCTION_URL=f"http://127.0.0.1:{port}/",
            EAVES_FORWARD_IMAGES="all",
        )
        agent.start()
        try:
            yield Chain(store=store, agent=agent, sink=sink, agent_keys=agent_keys)
        finally:
            agent.stop(signal.SIGKILL)


def test_large_images_are_predicted_from_the_spool_and_forwarded_by_reference(chain: Chain):
    large, small = picture(1, size_bytes=OVER_BYTES + 1), picture(2, size_bytes=OVER_BYTES)
    chain.store.write_keys(chain.agent_keys, secret_key="wrong")
    chain.drop("large.jpg", large)
    chain.drop("small.jpg", small)
    wait_until(lambda: chain.predictions("large.jpg") and chain.predictions("small.jpg"), 60, what="predictions")
    wait_until(lambda: chain.images("small.jpg"), 60, what="the small image")
    assert chain.images("small.jpg")[0].data == small
    reason = wait_until(lambda: str(chain.agent.lane("uploads").get("reason") or ""), 60, what="a paused lane")
    assert "the secret key is wrong" in reason
    assert chain.images("large.jpg") == []
    assert chain.store.list_keys() == []
    chain.store.write_keys(chain.agent_keys)
    (image,) = wait_until(lambda: chain.images("large.jpg"), 60, what="the large image")
    digest = hashlib.sha256(large).hexdigest()
    key = f"large/test/cam/{image.id}-{digest[:16]}.jpg"
    assert chain.store.list_keys() == [key]
    assert (image.data, image.extensions["datadigest"]) == (b"", f"sha256:{digest}")
    assert image.extensions["dataref"].endswith(f"/photos/{key}")
    found = chain.store.client.get_object(Bucket="photos", Key=key)
    assert (found["Body"].read(), found["ContentType"]) == (large, "image/jpeg")
    wait_until(lambda: chain.agent.lane("uploads").get("queued", 0) == 0, 60)
