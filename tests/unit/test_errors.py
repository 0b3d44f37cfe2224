"""The exception tree: what its docstring draws is what the classes say."""

import re
from typing import Any

from eaves import errors
from eaves.errors import EavesError


def tree(cls: type[EavesError]) -> list[type[EavesError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in tree(child))]


CLASSES = [cls for cls in tree(EavesError) if cls.__module__ == errors.__name__]
DRAWN = {
    name: (exit_code, status)
    for name, exit_code, status in re.findall(
        r"^ *[│├└─ ]*(\w+Error) *(?:exit (\d+))? *(?:HTTP (\d+))?", errors.__doc__ or "", re.MULTILINE
    )
}


def test_every_class_is_drawn_with_its_codes():
    assert set(DRAWN) == {cls.__name__ for cls in CLASSES}
    assert len(CLASSES) > 15
    for cls in CLASSES:
        exit_code, status = DRAWN[cls.__name__]
        parent: Any = cls.__mro__[1]
        assert cls.exit_code == int(exit_code or parent.exit_code), cls
        assert cls.http_status == int(status or parent.http_status), cls
