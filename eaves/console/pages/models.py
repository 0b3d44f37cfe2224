"""The pages of models: the list of runs, and each run with its photos.

`eaves.console.catalog` needs NumPy, so it is imported when there is a run to show: a site has none, and the container
image of its console no NumPy.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, abort, render_template, request

from eaves.console.backend import ConsoleContext
from eaves.console.guard import REPORT_POLICY
from eaves.console.pages.images import send_picture
from eaves.errors import EavesError


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the pages about models."""
    pages = Blueprint("models", __name__)
    backend = context.backend

    def find_run(name: str) -> Path:
        return backend.runs().get(name) or abort(404)

    @pages.get("/models")
    def show() -> str:
        if not (known := backend.runs()):
            return render_template("models/show.html", runs=(), known=0)
        from eaves.console.catalog import list_runs

        return render_template("models/show.html", runs=list_runs(known), known=len(known))

    @pages.get("/models/runs/<name>")
    def run(name: str) -> str | tuple[str, int]:
        path = find_run(name)
        try:
            return _show_run(name, path)
        except EavesError as error:
            return render_template("models/fault.html", what=f"The run {name}", error=error), 422

    @pages.get("/models/runs/<name>/photos/<digest>.jpg")
    def run_photo(name: str, digest: str) -> Response:
        path = find_run(name)
        from eaves.console.catalog import open_run
        from eaves.console.thumbnails import make_thumbnail

        try:
            photo = open_run(path).read_photo(digest)
        except EavesError:
            abort(404)
        return send_picture(None if photo is None else make_thumbnail(photo), max_age_s=86_400)

    @pages.get("/models/runs/<name>/report.html")
    def run_report(name: str) -> Response:
        path = find_run(name)
        from eaves.console.catalog import REPORT, read_file

        content = read_file(path / REPORT)
        return Response(content, headers={"Content-Security-Policy": REPORT_POLICY}) if content else abort(404)

    return pages


def _show_run(name: str, path: Path) -> str:
    from eaves.console.catalog import build_run_page, foreign_content, open_run, select_mistakes

    files = open_run(path)
    truth, predicted = (request.args.get(one, type=int) for one in ("truth", "predicted"))
    number = request.args.get("page", 1, type=int)
    with foreign_content(f"the run {name}"):
        page, answers = build_run_page(files), files.answers
        mistakes = select_mistakes(answers or {}, page["labels"], truth=truth, predicted=predicted, page=number)
        here = {photo.digest for photo in mistakes.photos if files.find_photos(photo.digest)}
    return render_template(
        "models/run.html",
        name=name,
        page=page,
        mistakes=None if answers is None else mistakes,
        here=here,
        truth=truth,
        predicted=predicted,
    )
