"""FFmpeg's log while a stream is opened: the reasons of failures, and the redirects of RTSP.

FFmpeg follows a redirect of RTSP without asking, and sends the user name and password of the first address to the
second one, by any protocol. It has no option against that, but it logs a redirect before it connects. So the decoder
ends when such a line says that another server would get the password.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

import av.logging

from eaves.sources.camera.wire import Failed

MAX_LINES = 200
_REDIRECT = ": Redirecting to "
"""Text of the line. Source: libavformat/rtsp.c, ff_rtsp_connect."""
_PORTS = {"rtsp": 554, "rtsps": 322}


class LibraryLog(logging.Handler):
    """Keeps the last lines while it is entered.

    Args:
        url: Address of the stream with its credentials.
        finish: Writes the last message to the parent.
    """

    def __init__(self, url: str, finish: Callable[[Failed], None]) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        self._url, self._finish = url, finish
        self._has_login = "://" in url and urlsplit(url).username is not None

    def __enter__(self) -> LibraryLog:
        logger = logging.getLogger("libav")
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        av.logging.set_level(av.logging.INFO)
        av.logging.set_skip_repeated(False)
        return self

    def __exit__(self, *_: object) -> None:
        av.logging.set_level(None)  # a damaged stream writes a line for each packet
        logging.getLogger("libav").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; end the process before it connects to a server that mustn't get the password."""
        line = record.getMessage()
        self.lines.append(line)
        _, found, target = line.partition(_REDIRECT)
        if found and self._has_login and not is_same_server(self._url, target.strip()):
            message = "the camera refers to another server, which doesn't get the user name and password"
            self._finish(Failed(code="not_found", message=message))
            os._exit(0)


def is_same_server(url: str, other: str) -> bool:
    """Return whether two addresses of RTSP have the same protocol, host and port."""
    try:
        first, second = urlsplit(url), urlsplit(other)
        return (first.scheme, first.hostname, first.port or _PORTS.get(first.scheme)) == (
            second.scheme,
            second.hostname,
            second.port or _PORTS.get(second.scheme),
        )
    except ValueError:
        return False
