"""Writing of a new eaves.yaml, with the settings that most projects change and the command that lists all settings."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_HEAD = """\
# Settings of a model, its function, and the sources that send images to it.
# `eaves settings` lists all of them; `eaves settings train` explains a section.
name: {name}
site: home            # name of this place, a part of every event's source

data:
  path: {data}
train:
  arch: efficientnet_lite0  # or inception_v3, which downloads its weights
"""
_SOURCES_EXAMPLE = """\
# Sources turn images into events: files of a folder, a camera's stream, ...
# `eaves sources try rtsp://192.168.1.20/stream1` shows what a camera sends.
#sources:
#  - {name: inbox, kind: folder, path: inbox}
#  - {name: gate, kind: camera, url: "rtsp://192.168.1.20/stream1"}
"""
_TRIGGERS_EXAMPLE = """\
# Triggers send events to a URL, or over MQTT, for example to Home Assistant.
#triggers:
#  - name: alarm
#    filter: {type: dev.eaves.image.classified.v1, confidence: high}
#    url: http://127.0.0.1:9000/
#  - name: hub
#    filter: {type: dev.eaves.image.classified.v1}
#    url: mqtt://127.0.0.1/plant/{partitionkey}/{label}
#    mqtt: {format: json, home_assistant: true}
"""


def write_project(*, name: str, data: str, sources: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the text of a new eaves.yaml: the settings that most projects change, and examples in comments.

    Args:
        name: Name of the model and the function.
        data: Path or URI of the labelled images.
        sources: Settings of the sources that turn images into events; when empty, the text has an example in a comment.
    """
    head = _HEAD.format(name=_inline(name), data=_inline(data))
    return "\n".join((head, _render_sources(sources) if sources else _SOURCES_EXAMPLE, _TRIGGERS_EXAMPLE))


def _render_sources(sources: Sequence[Mapping[str, Any]]) -> str:
    text = yaml.safe_dump([dict(source) for source in sources], sort_keys=False, allow_unicode=True, width=10_000)
    return "# Sources turn images into events.\nsources:\n" + textwrap.indent(text, "  ")


def _inline(value: str) -> str:
    """Return a text as a YAML scalar on one line."""
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).splitlines()[0]
