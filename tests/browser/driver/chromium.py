"""Chromium as an installed program; Playwright downloads no browser."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAMS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")


def missing_part() -> str:
    """Say what is missing to drive a browser; empty when nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed (requirements/dev.txt)"
    if find_program() is None:
        return "Chromium is not installed (apt install chromium)"
    return ""


def find_program() -> str | None:
    """Return the path of the browser; None when none is installed."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a browser without a window, and end it."""
    from playwright.sync_api import sync_playwright

    # Chromium refuses to start as root with its sandbox. A container's /dev/shm may have only 64 MB.
    flags = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_program(), args=flags)
        yield browser
        browser.close()
