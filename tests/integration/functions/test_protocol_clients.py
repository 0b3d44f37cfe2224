"""Clients of the Open Inference Protocol show why a function refuses: kserve's and tritonclient's.

The short forms read an answer as those clients do and run everywhere. The clients themselves are in no extra of Eaves:
their tests run where `pip install kserve 'tritonclient[http]'` was done, and are skipped elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.fakes.models.graph import write_graph_artifact
from tests.processes.function import MAX_BODY, Function
from tests.waiting import wait_until

MODEL = "colours"
NO_IMAGE = b"no image"


def build_huge_png() -> bytes:
    """The head of a PNG of 60,000 x 60,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    end = b"IEND"
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (head, end)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class Case:
    """One request that is refused.

    Attributes:
        status: Status of the answer.
        says: What the reason holds.
        datatype: Datatype of the input `image`.
        shape: Shape of the input `image`.
        data: Bytes of the images, or of the pixels.
        model: Name of the model that is asked for.
        compressed: Whether the body is sent with gzip.
    """

    def __init__(
        self, status: int, says: str, datatype: str, shape: list[int], data: bytes, *, model: str = MODEL,
        compressed: bool = False,
    ) -> None:  # fmt: skip
        self.status, self.says, self.model, self.compressed = status, says, model, compressed
        self.datatype, self.shape, self.data = datatype, shape, data

    def tensor(self, **more: Any) -> dict[str, Any]:
        return {"name": "image", "datatype": self.datatype, "shape": self.shape, **more}

    def render(self, *, binary: bool) -> tuple[dict[str, str], bytes]:
        """Headers and body of the request."""
        if binary:
            raw = struct.pack("<I", len(self.data)) + self.data if self.datatype == "BYTES" else self.data
            tensor = self.tensor(parameters={"binary_data_size": len(raw)})
            head = json.dumps({"inputs": [tensor]}).encode()
            headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
            body = head + raw
        else:
            bytes_ = self.datatype == "BYTES"
            data: list[Any] = [base64.b64encode(self.data).decode()] if bytes_ else list(self.data)
            headers = {"Content-Type": "application/json"}
            body = json.dumps({"inputs": [self.tensor(data=data)]}).encode()
        if self.compressed:
            return {**headers, "Content-Encoding": "gzip"}, gzip.compress(body)
        return headers, body


CASES = {
    "400": Case(400, "shape must be", "UINT8", [1, 1, 1, 4], b"\x01\x02\x03\x04"),
    "404": Case(404, "other", "UINT8", [1, 1, 1, 3], b"\x01\x02\x03", model="other"),
    "413 body": Case(413, "exceeds", "UINT8", [1, 200, 200, 3], bytes(200 * 200 * 3)),
    "413 pixels": Case(413, "60000x60000", "BYTES", [1], build_huge_png()),
    "415": Case(415, "gzip", "UINT8", [1, 1, 1, 3], b"\x01\x02\x03", compressed=True),
    "422": Case(422, "image", "BYTES", [1], NO_IMAGE),
}
assert len(CASES["413 body"].data) > MAX_BODY


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """A function that predicts colours."""
    folder = tmp_path_factory.mktemp("function")
    started = Function(write_graph_artifact(folder / "artifact").path, folder, EAVES_FUNCTION=MODEL)
    started.wait_ready()
    yield started
    started.stop()


def read_as_kserve(headers: Mapping[str, str], body: bytes) -> str:
    """Source: kserve 0.21, kserve/inference_client.py, `_construct_http_status_error`."""
    if headers.get("content-type") != "application/json":
        return ""
    return str(json.loads(body).get("error", ""))


def read_as_triton(body: bytes) -> str:
    """Source: tritonclient 2.73, tritonclient/http/_utils.py, `_get_error`."""
    return str(json.loads(body)["error"])


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("name", CASES)
def test_a_refusal_has_its_reason_where_clients_look(function: Function, name: str, binary: bool) -> None:
    case = CASES[name]
    headers, body = case.render(binary=binary)
    dashed = {name.replace("-", "_"): value for name, value in headers.items()}
    status, answered, content = function.request("POST", f"/v2/models/{case.model}/infer", body, **dashed)
    assert status == case.status, content
    lower = {name.lower(): value for name, value in answered.items()}
    assert case.says in read_as_kserve(lower, content), (lower, content)
    assert read_as_triton(content) == read_as_kserve(lower, content)


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("name", CASES)
def test_kserves_client_shows_the_reason(function: Function, name: str, binary: bool) -> None:
    kserve = pytest.importorskip("kserve", reason="needs pip install kserve")
    import numpy as np

    case = CASES[name]
    client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", retries=1))
    tensor = kserve.InferInput("image", case.shape, case.datatype)
    array = np.array([case.data], dtype=np.object_) if case.datatype == "BYTES" else np.frombuffer(case.data, np.uint8)
    if case.datatype == "BYTES" and not binary:
        tensor.data = [base64.b64encode(case.data).decode()]
    else:
        tensor.set_data_from_numpy(array.reshape(case.shape), binary_data=binary)
    request = kserve.InferRequest(model_name=case.model, infer_inputs=[tensor])
    headers = {"Content-Encoding": "gzip"} if case.compressed else None
    url = f"http://127.0.0.1:{wait_until(function.port, 30)}"

    async def ask() -> None:
        try:
            await client.infer(url, request, model_name=case.model, headers=headers)
        finally:
            await client.close()

    with pytest.raises(Exception) as caught:  # noqa: PT011 - httpx's, which is not installed here
        asyncio.run(ask())
    assert type(caught.value).__name__ == "HTTPStatusError"
    assert case.says in str(caught.value)
    assert f"'{case.status} " in str(caught.value)


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("name", CASES)
def test_tritons_client_shows_the_reason(function: Function, name: str, binary: bool) -> None:
    http = pytest.importorskip("tritonclient.http", reason="needs pip install 'tritonclient[http]'")
    import numpy as np

    case = CASES[name]
    tensor = http.InferInput("image", case.shape, case.datatype)
    data = base64.b64encode(case.data) if case.datatype == "BYTES" and not binary else case.data
    array = np.array([data], dtype=np.object_) if case.datatype == "BYTES" else np.frombuffer(data, np.uint8)
    tensor.set_data_from_numpy(array.reshape(case.shape), binary_data=binary)
    client = http.InferenceServerClient(f"127.0.0.1:{wait_until(function.port, 30)}")
    compression = "gzip" if case.compressed else None
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - tritonclient's, which is not installed here
            client.infer(case.model, [tensor], request_compression_algorithm=compression)
    finally:
        client.close()
    assert type(caught.value).__name__ == "InferenceServerException"
    assert case.says in str(caught.value)
    assert f"[{case.status}]" in str(caught.value)
