"""What containers of a simulated cluster write, as an API server streams it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping

from tests.fakes.kubernetes.objects import Manifest, Objects
from tests.fakes.kubernetes.selectors import matches_fields, matches_labels
from tests.fakes.kubernetes.wire import CutError

Container = tuple[str, str, str]
"""Namespace, pod, container's name."""


class Streams:
    """All streams of one cluster, which tests can cut."""

    def __init__(self, objects: Objects, closing: threading.Event) -> None:
        self._objects, self._closing = objects, closing
        self._lines: dict[Container, list[tuple[str, str]]] = {}
        self._ended: set[Container] = set()
        self._cuts = 0

    def cut(self) -> None:
        """Break all of them, within a chunk."""
        with self._objects.changed:
            self._cuts += 1
            self._objects.changed.notify_all()

    def write(self, key: Container, lines: tuple[str, ...]) -> None:
        """Let a container write."""
        with self._objects.changed:
            kept = self._lines.setdefault(key, [])
            for text in lines:
                now = max(time.time_ns(), time.time_ns() + len(kept))
                second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
                kept.append((f"{second}.{now % 10**9:09d}Z", text))
            self._objects.changed.notify_all()

    def end(self, key: Container) -> None:
        """Let a container end: nobody follows it any longer."""
        with self._objects.changed:
            self._ended.add(key)
            self._objects.changed.notify_all()

    def wrote(self, key: Container) -> bool:
        """Whether a container has ever written."""
        return key in self._lines

    def logs(self, query: Mapping[str, str], key: Container) -> Iterator[bytes]:
        """What a container wrote, and writes on when it is followed."""
        follow, tail, cuts = query.get("follow") == "true", query.get("tailLines"), self._cuts
        since = query.get("sinceTime", "").removesuffix("Z")
        with self._objects.changed:
            present = list(self._lines.get(key, []))
        reported = len(present)
        lines = [one for one in present if one[0] >= since]
        lines = lines[max(0, len(lines) - int(tail)) :] if tail else lines
        while True:
            for moment, text in lines:
                yield (f"{moment} {text}\n" if query.get("timestamps") == "true" else f"{text}\n").encode()
            if not follow or self._closing.is_set():
                return
            with self._objects.changed:
                lines = self._lines.get(key, [])[reported:]
                if not lines and key in self._ended:
                    return
                if not lines and self._cuts == cuts:
                    self._objects.changed.wait(timeout=0.05)
                reported += len(lines)
            self._check(cuts)

    def _check(self, cuts: int) -> None:
        if self._cuts != cuts:
            raise CutError


def selected(query: Mapping[str, str], value: Manifest) -> bool:
    """Whether an object is one that is asked for."""
    labels = value["metadata"].get("labels", {})
    return matches_labels(labels, query.get("labelSelector", "")) and matches_fields(
        value, query.get("fieldSelector", "")
    )
