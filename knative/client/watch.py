"""Follows changes of objects and lines of logs over connections that break; functions of the caller do the I/O.

The official client's watch ends silently when its connection is cut, and doesn't list again when its resourceVersion is
too old.

Source: "Efficient detection of changes" in Kubernetes' API concepts; client-go, tools/cache/reflector.go.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from eaves.base.backoff import Backoff
from eaves.errors import AbsentError, ClusterError, DeniedError, InvalidError, UnreachableClusterError
from knative.client.api_errors import ApiCall, ExpiredError, build_api_error

Change = tuple[str, dict[str, Any]]
_PAUSES = Backoff(retry=None, first_s=0.1, cap_s=5.0)


class KnownObjects:
    """The objects that a watch has reported so far, by namespace and name; it finds what has changed since."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}

    def listed(self, items: Iterable[dict[str, Any]]) -> Iterator[Change]:
        """Yield the changes that a new list shows, compared with the objects reported so far."""
        present = {_key(item): item for item in items}
        for key in [key for key in self._objects if key not in present]:
            yield "DELETED", self._objects.pop(key)
        for item in present.values():
            yield from self.update("MODIFIED", item)

    def update(self, kind: str, item: dict[str, Any]) -> Iterator[Change]:
        """Yield the changes that one event of a watch shows, compared with the objects reported so far."""
        key = _key(item)
        known = self._objects.get(key)
        if kind == "DELETED":
            if self._objects.pop(key, None) is not None:
                yield "DELETED", item
            return
        self._objects[key] = item
        if known is None:
            yield "ADDED", item
        elif known["metadata"].get("uid") != item["metadata"].get("uid"):  # deleted and made again in between
            yield "DELETED", known
            yield "ADDED", item
        elif known["metadata"].get("resourceVersion") != item["metadata"].get("resourceVersion"):
            yield "MODIFIED", item


def watch_objects(
    listing: Callable[[], tuple[list[dict[str, Any]], str]],
    streaming: Callable[[str, float], Iterator[Change]],
    *,
    timeout_s: float,
    begun: Callable[[], object] = lambda: None,
    given_up: Callable[[], bool] = lambda: False,
) -> Iterator[Change]:
    """Yield existing objects as ADDED, then every change, until the time limit.

    Args:
        listing: Function that returns all objects, and the resourceVersion of that list.
        streaming: Function that yields (type, object) of events since a resourceVersion, for at most a number of
            seconds.
        timeout_s: Seconds to watch.
        begun: Function that is called after the first list; every later change is reported.
        given_up: Function that returns whether the watch ends with the connection that it has.

    Raises:
        ClusterError: When the first list fails, when a right is missing, or when there is no connection at the end.
    """
    deadline, known, failures = time.monotonic() + timeout_s, KnownObjects(), 0
    fault: ClusterError | None = None
    items, version = listing()
    yield from known.listed(items)
    begun()
    while (left_s := deadline - time.monotonic()) > 0:
        heard = False
        try:
            if not version:
                items, version = listing()
                yield from known.listed(items)
            for kind, item in streaming(version, left_s):
                heard = True
                version = item["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    yield from known.update(kind, item)
            fault = None
        except ExpiredError:
            version = ""
        except (AbsentError, DeniedError, InvalidError):
            raise
        except ClusterError as error:
            fault = error
        if given_up():
            return
        # The loop pauses when a server ends or refuses every stream at once.
        failures = 0 if heard else failures + 1
        if failures:
            pause_s = _PAUSES.pause_s(failures)
            time.sleep(max(0.0, min(pause_s, deadline - time.monotonic())))
    if fault is not None:
        raise fault


def parse_events(chunks: Iterable[bytes], call: ApiCall) -> Iterator[Change]:
    """Parse the events of a watch.

    Raises:
        ExpiredError: When the API server no longer knows the resourceVersion.
        ClusterError: When the API server ends the watch for another reason, or the stream ends within an event.
    """
    for line in split_lines(chunks):
        try:
            event = json.loads(line)
            kind, item = str(event["type"]), event["object"]
            version = "" if kind == "ERROR" else item["metadata"]["resourceVersion"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreachableClusterError(
                f"{call.where}: the watch of {call.what} ended in the middle of an event"
            ) from error
        if not version:
            raise build_api_error(int(item.get("code") or 500), json.dumps(item).encode(), call)
        yield kind, item


def follow_log(
    streaming: Callable[[dict[str, str], float], Iterable[bytes]],
    *,
    timeout_s: float,
) -> Iterator[str]:
    """Yield the lines of a log without their timestamps, until it ends or the time is up; a broken stream is resumed.

    Args:
        streaming: Function that yields the log since the time in a query, for at most a number of seconds. An empty
            query leaves the start to the function.
        timeout_s: Seconds to follow the log.

    Raises:
        ClusterError: When the log can't be followed from the start, when a right is missing, or when there is no
            connection at the end.
    """
    deadline, last, failures = time.monotonic() + timeout_s, "", 0
    while True:
        since, query = last, {"sinceTime": re.sub(r"\.\d+", "", last)} if last else {}
        try:
            for line in split_lines(streaming(query, deadline - time.monotonic())):
                stamp, _, text = line.decode("utf-8", "replace").partition(" ")
                failures = 0
                if stamp > since:  # sinceTime has whole seconds only
                    last = stamp
                    yield text
        except (DeniedError, InvalidError):
            raise
        except AbsentError:
            if not last:
                raise
            return  # the pod is gone, and its log with it
        except ClusterError:
            failures += 1
            pause_s = _PAUSES.pause_s(failures)
            if (not last and failures > 1) or time.monotonic() + pause_s >= deadline:
                raise
            time.sleep(pause_s)
        else:
            return


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split chunks of bytes into lines without their line ends."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _key(item: dict[str, Any]) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
