"""`eaves send`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli.arguments import state_option
from eaves.cli.output import output_option, print_rows, say
from eaves.errors import NotFoundError, PlatformError

COLUMNS = {
    "image": "IMAGE",
    "label": "LABEL",
    "score": "SCORE",
    "confidence": "CONFIDENCE",
    "latency_ms": "MS",
    "id": "EVENT",
}


@click.command()
@click.argument("images", type=click.Path(path_type=Path, exists=True, dir_okay=False), nargs=-1, required=True)
@click.option("--function", "name", help="Which function; not needed when only one is deployed.")
@click.option("--site", default="home", show_default=True, help="Name of the place, in the events' source.")
@click.option(
    "--timeout", type=click.FloatRange(1, 600), default=120.0, show_default=True, help="Seconds to wait for each."
)
@output_option
@state_option
def command(images: tuple[Path, ...], name: str | None, site: str, timeout: float, form: str, state_dir: Path) -> None:
    """Send IMAGES as events to a function and print the prediction events that come back."""
    from eaves.local.client import LocalPlatform
    from eaves.sources.files import capture_file

    platform = LocalPlatform(state_dir)
    function = name or _only(platform.status())
    rows: list[dict[str, Any]] = []
    refused = 0
    for path in images:
        answer = platform.invoke(function, capture_file(path, site=site), timeout_s=timeout)
        if answer.event is None:
            refused += 1
            say(f"error: {path}: status {answer.status}: {answer.body[:700].decode(errors='replace')}")
            continue
        best = answer.event.json()["predictions"][0]
        rows.append(
            {
                "image": str(path),
                "label": best["label"],
                "score": best["score"],
                "confidence": answer.event.extensions.get("confidence", ""),
                "latency_ms": round(answer.latency_ms, 1),
                "id": answer.event.id,
                "event": {**answer.event.attributes(), "data": answer.event.json()},
            }
        )
    print_rows(rows, COLUMNS, form)
    if refused:
        raise PlatformError(f"{refused} of {len(images)} images got no prediction", hint=f"eaves logs {function}")


def _only(found: list[Any]) -> str:
    """The one function there is.

    Raises:
        NotFoundError: When there are none or several.
    """
    names = [status.name for status in found]
    if len(names) != 1:
        hint = f"--function {names[0]}" if names else "eaves deploy"
        raise NotFoundError(
            f"{len(names)} functions are deployed here{': ' + ', '.join(names) if names else ''}", hint=hint
        )
    return str(names[0])
