"""Marks of views: what a route needs or may do beyond the usual, declared next to the view."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, TypeVar

from flask import Flask

_View = TypeVar("_View", bound=Callable[..., Any])
_ATTRIBUTE = "console_marks"


class Mark(Enum):
    """Property of a view.

    Attributes:
        PUBLIC: The view answers a person who hasn't logged in.
        CHANGES_NOTHING: The view takes a POST but stores and sends nothing, so a read-only console answers it.
        UPLOAD: The view takes a photo; other views take small forms only.
        BACKGROUND: The page requests this by itself, such as a stream or a poll, so a request is no sign that a person
            is there, and doesn't postpone the end of an idle session.
        CAMERA: The page may use the device's camera.
    """

    PUBLIC = auto()
    CHANGES_NOTHING = auto()
    UPLOAD = auto()
    BACKGROUND = auto()
    CAMERA = auto()


def marked(*marks: Mark) -> Callable[[_View], _View]:
    """Return a decorator that marks a view; it must be below the decorator of the route."""

    def decorate(view: _View) -> _View:
        setattr(view, _ATTRIBUTE, frozenset(marks))
        return view

    return decorate


def find_marks(app: Flask, endpoint: str | None) -> frozenset[Mark]:
    """Return the marks of an endpoint's view; empty for an unknown endpoint.

    Files of the `static` folder are the same for everybody and are part of the login page, so they are public.
    """
    if endpoint == "static":
        return frozenset({Mark.PUBLIC, Mark.BACKGROUND})
    found: frozenset[Mark] = getattr(app.view_functions.get(endpoint or ""), _ATTRIBUTE, frozenset())
    return found
