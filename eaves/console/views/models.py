"""The pages of models: the list of artifacts and runs, and each run with its photos.

The package `eaves.console.catalog` needs NumPy, so it is imported when there is a run or an artifact to show: a site
has neither, and the container image of its console no NumPy.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, render_template, request

from eaves.console.backend import ModelLocation
from eaves.console.context import ConsoleContext
from eaves.console.views.images import send_picture
from eaves.errors import EavesError

if TYPE_CHECKING:
    from eaves.console.catalog.catalog import Catalog


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the pages about models."""
    pages = Blueprint("models", __name__)
    backend = context.backend

    @functools.cache
    def catalog() -> Catalog:
        from eaves.console.catalog.catalog import Catalog

        return Catalog(backend)

    def find_run(name: str) -> ModelLocation:
        if all(one.name != name or one.kind != "run" for one in backend.models()):
            abort(404)
        return next((one for one in catalog().locations("run") if one.name == name), None) or abort(404)

    @pages.get("/models")
    def show() -> str:
        known = backend.models()
        return render_template(
            "models/show.html",
            artifacts=catalog().list_artifacts() if known else (),
            runs=catalog().list_runs() if known else (),
            known=len(known),
        )

    @pages.get("/models/runs/<name>")
    def run(name: str) -> str | tuple[str, int]:
        location = find_run(name)
        try:
            return _show_run(catalog(), location)
        except EavesError as error:
            return render_template("models/fault.html", what=f"The run {location.name}", error=error), 422

    @pages.get("/models/runs/<name>/photos/<digest>.jpg")
    def run_photo(name: str, digest: str) -> Response:
        location = find_run(name)
        try:
            photo = catalog().run(location).read_photo(digest)
        except EavesError:
            abort(404)
        from eaves.console.thumbnails.maker import make_thumbnail

        return send_picture(None if photo is None else make_thumbnail(photo), max_age_s=86_400)

    return pages


def _show_run(catalog: Catalog, location: ModelLocation) -> str:
    from eaves.console.catalog.confusion import select_mistakes
    from eaves.console.catalog.run_page import build_run_page

    files = catalog.run(location)
    page, answers = build_run_page(files), files.answers
    truth, predicted = (request.args.get(name, type=int) for name in ("truth", "predicted"))
    number = request.args.get("page", 1, type=int)
    mistakes = select_mistakes(answers or {}, page.labels, truth=truth, predicted=predicted, page=number)
    return render_template(
        "models/run.html",
        location=location,
        page=page,
        mistakes=None if answers is None else mistakes,
        here={photo.digest for photo in mistakes.photos if files.find_photos(photo.digest)},
        truth=truth,
        predicted=predicted,
    )
