"""The `type` of a problem is a contract: docs/function.md lists every one that the code can make, and no other."""

import ast
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from waitress import utilities
from werkzeug import exceptions

import functions
from eaves import errors
from eaves.errors import EavesError
from eaves.problem_document import TYPE_PREFIX, error_type
from functions.problems import error_response

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/function.md"
SOURCES = [
    *Path(functions.__file__).parent.rglob("*.py"),
    *(ROOT / "eaves/inference").glob("*.py"),
    *(ROOT / "eaves").glob("images*.py"),
    *(ROOT / "eaves").glob("images/*.py"),
    *(
        ROOT / name
        for name in ("eaves/events.py", "eaves/cloudevents_sdk.py", "eaves/recipe.py", "eaves/artifact/golden.py")
    ),
]
NEVER_ANSWERED = {errors.StartError, errors.ConfigError, errors.RunError, errors.DatasetError, EavesError}
FLASK = (exceptions.BadRequest, exceptions.NotFound, exceptions.MethodNotAllowed, exceptions.RequestEntityTooLarge)


def named() -> Iterator[type[EavesError]]:
    """Errors that the function, and what it calls with a request in hand, name."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            found = getattr(errors, node.id, None) if isinstance(node, ast.Name) else None
            if isinstance(found, type) and issubclass(found, EavesError):
                yield found


def http_codes() -> set[int]:
    """What waitress and Flask refuse with; transfer encodings unheard of are our 400."""
    theirs = [one for one in vars(utilities).values() if isinstance(one, type) and issubclass(one, utilities.Error)]
    codes = {int(one.code) for one in theirs if hasattr(one, "code")}
    return (codes | {one.code or 0 for one in FLASK}) - {HTTPStatus.NOT_IMPLEMENTED}


def rows() -> Iterator[list[str]]:
    table = PAGE.read_text().partition("| situation | status |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def documented() -> dict[str, str]:
    """Type to the text of its status."""
    return {kind: row[1] for row in rows() for kind in re.findall(r"`([a-z0-9-]+)`", row[2])}


def test_the_page_lists_every_type_and_no_other():
    made = {error_type(cls) for cls in named() if cls not in NEVER_ANSWERED} | {"internal"}
    assert set(documented()) == made | {f"http-{code}" for code in http_codes()}


def test_each_has_the_status_that_the_page_says():
    found = documented()
    for cls in {*named()} - NEVER_ANSWERED:
        assert str(error_response(cls("x")).status_code) in found[error_type(cls)], cls
    for kind, status in found.items():
        assert not kind.startswith("http-") or kind.removeprefix("http-") in status
    assert error_response(ValueError()).get_json(force=True)["type"] == f"{TYPE_PREFIX}internal"


def test_a_class_of_a_handlers_own_has_the_type_of_ours():
    class NoSuchScanError(errors.ImageError): ...

    assert error_type(NoSuchScanError) == "image"
