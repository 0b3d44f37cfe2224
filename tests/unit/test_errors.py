"""The exception tree: what its docstring draws is what the classes say."""

from __future__ import annotations

import re

import pytest

from eaves import errors
from eaves.errors import EavesError, ImageTooLargeError


def tree(cls: type[EavesError]) -> list[type[EavesError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in tree(child))]


CLASSES = [cls for cls in tree(EavesError) if cls.__module__ == errors.__name__]
DRAWN = {
    name: (exit_code, status)
    for name, exit_code, status in re.findall(
        r"^ *[│├└─ ]*(\w+Error) *(?:exit (\d+))? *(?:HTTP (\d+))?", errors.__doc__ or "", re.MULTILINE
    )
}


def test_every_class_is_drawn() -> None:
    assert set(DRAWN) == {cls.__name__ for cls in CLASSES}
    assert len(CLASSES) > 15


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_has_the_codes_that_are_drawn_for_it(cls: type[EavesError]) -> None:
    exit_code, status = DRAWN[cls.__name__]
    parent = cls.__mro__[1]
    assert cls.exit_code == int(exit_code or parent.exit_code)  # type: ignore[attr-defined]
    assert cls.http_status == int(status or parent.http_status)  # type: ignore[attr-defined]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_says_what_it_means(cls: type[EavesError]) -> None:
    assert cls.__doc__


def test_an_error_carries_message_and_hint() -> None:
    error = ImageTooLargeError("too large", hint="send a smaller image")
    assert (str(error), error.message, error.hint) == ("too large", "too large", "send a smaller image")
    assert ImageTooLargeError("x").hint is None
