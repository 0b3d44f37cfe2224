"""What templates use beside their values: filters for words, and the clock."""

from __future__ import annotations

from flask import Flask, current_app, url_for

from eaves.console.context import ConsoleContext
from eaves.console.model import words


def install_rendering(app: Flask, context: ConsoleContext) -> None:
    """Add the filters and globals of the templates to the app's Jinja environment.

    Args:
        app: The console's app.
        context: The context of the pages; its clock gives the time that ages refer to.
    """
    environment = app.jinja_env
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.globals.update(clock_now=context.clock.now, page=find_page, site_since=context.settings.site_since)
    environment.filters.update(
        ago=lambda at: words.describe_age(context.clock.now() - at),
        lasting=lambda at: words.describe_duration(context.clock.now() - at),
        clock_time=lambda at: words.format_time(at, context.clock.now()),
        utc=words.format_utc,
        duration=words.describe_duration,
        ms=words.describe_ms,
        size=words.describe_size,
        share=words.describe_share,
        counted=words.count_noun,
        anchor=words.build_anchor,
    )


def find_page(endpoint: str, **values: str | int) -> str:
    """Return the address of a page; empty when this console doesn't have it."""
    return url_for(endpoint, **values) if endpoint in current_app.view_functions else ""  # type: ignore[arg-type]
