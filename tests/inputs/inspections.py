"""Replies of functions that inspect or classify images, whose ranks an agent's spool watches."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.events import IMAGE_CLASSIFIED, IMAGE_INSPECTED, Event
from eaves.spool import Spool
from eaves.spool.score_shift import WINDOW, Sample, count, read_sample
from tests.unit.spool.entries import image

MODEL = f"sha256:{'a' * 64}"
CAMERA = "/eaves/site/camera"


def inspected(
    number: int, p_value: object, *, images: int = 60, groups: int = 60, artifact: str = MODEL, source: str = CAMERA
) -> Event:
    data = {"p_value": p_value, "calibration": {"images": images, "groups": groups}, "artifact": artifact}
    about = {"causesource": source, "causeid": str(number), "model": "parts", "modelversion": "3", "label": "normal"}
    return Event(
        id=f"reply-{number}",
        source="/eaves/site/parts",
        type=IMAGE_INSPECTED,
        data=json.dumps(data).encode(),
        extensions=about,
    )


def sample_of(reply: Event, **extensions: str) -> Sample | None:
    return read_sample(reply, extensions)


def settle(spool: Spool, *replies: Event, **extensions: str) -> None:
    """Release images with these replies, all but the last one in a commit that does nothing else, to save time."""
    spool.database().commit(lambda db: [count(db, sample_of(reply), spool.clock.now()) for reply in replies[:-1]])
    spool.put(image(0))
    spool.ack(spool.peek("out")[0], puts=[(replies[-1], ("replies",))], sample=sample_of(replies[-1], **extensions))


def window(p_values: npt.ArrayLike, first: int = 0, **fields: Any) -> list[Event]:
    """A window of replies with these p-values, again and again."""
    values = np.resize(np.asarray(p_values), WINDOW).tolist()
    return [inspected(first + number, value, **fields) for number, value in enumerate(values)]


GOOD = np.arange(13, 62) / 61
"""Every p-value above 0.2 that 60 images allow."""
DARK = GOOD[:10]


def classified(number: int, rank: float, label: str = "rose", *, groups: int = 200, source: str = CAMERA) -> Event:
    calibration = {"label": label, "rank": rank, "groups": groups}
    data = {"predictions": [], "calibration": calibration, "artifact": MODEL}
    reply = inspected(number, 1.0, source=source)
    return replace(reply, type=IMAGE_CLASSIFIED, data=json.dumps(data).encode())


def classified_window(ranks: Mapping[str, npt.ArrayLike], first: int = 0, **fields: Any) -> list[Event]:
    """A window of replies: in turn one of each label, with the ranks of that label again and again."""
    labels = [*ranks]
    columns = [np.resize(np.asarray(ranks[label]), WINDOW).tolist() for label in labels]
    return [
        classified(
            first + number, columns[number % len(labels)][number // len(labels)], labels[number % len(labels)], **fields
        )
        for number in range(WINDOW)
    ]
