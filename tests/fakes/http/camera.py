"""A camera's web server on loopback."""

from tests.fakes.http.server import Answer, Asked, respond
from tests.fakes.http.server import FakeServer as FakeCamera
from tests.fakes.http.server import open_server as open_camera

__all__ = ["Answer", "Asked", "FakeCamera", "open_camera", "respond"]
