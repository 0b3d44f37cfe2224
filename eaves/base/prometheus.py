"""Prometheus' text format, as every process of Eaves writes it.

Eaves has its own implementation because the official client costs 80 ms of cold start and some MB (it brings an HTTP
server and TLS); the tests read the result with that client's parser.

Source: Prometheus exposition formats, text format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render_family(
    name: str, text: str, series: Iterable[tuple[Mapping[str, str], float]], *, kind: str = ""
) -> Iterator[str]:
    """Yield the lines of one metric.

    Args:
        name: Name of the metric.
        text: Its description.
        series: Labels and value of each series.
        kind: Type of the metric; empty for a counter when the name ends with `_total`, otherwise for a gauge.
    """
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind or ('counter' if name.endswith('_total') else 'gauge')}"
    for labels, value in series:
        yield f"{name}{render_labels(labels)} {value:{'d' if isinstance(value, int) else '.10g'}}"


def render_labels(labels: Mapping[str, str]) -> str:
    """Return labels with their values; empty for none."""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
