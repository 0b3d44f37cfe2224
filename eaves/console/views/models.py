"""The pages of runs and artifacts: the list, each of them, and the comparison of two.

The package `eaves.console.catalog` is imported when one of these pages is opened, and those of its modules that need
NumPy when there is a run or an artifact to show: a site has neither, and the container image of its console no NumPy.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, render_template, request

from eaves.console.backend import Backend, Images, ModelLocation
from eaves.console.context import ConsoleContext
from eaves.console.model.event_row import build_row
from eaves.console.security import Mark, marked
from eaves.console.views.images import send_picture
from eaves.errors import EavesError

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from eaves.console.catalog.artifact_page import GoldenRow
    from eaves.console.catalog.catalog import Catalog
    from eaves.console.catalog.golden_check import ProducedAnswer

KINDS = ("artifact", "run")
KEPT = 60
"""Maximum number of kept images on one page."""
MAX_UPDATES = 20
"""Maximum number of other artifacts whose update is computed on the page of an artifact."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the pages about models."""
    pages = Blueprint("models", __name__)

    @functools.cache
    def catalog() -> Catalog:
        from eaves.console.catalog.catalog import Catalog

        return Catalog(context.backend)

    pages.add_url_rule("/models", "show", lambda: _show_list(catalog()))
    pages.add_url_rule("/models/artifacts/<name>", "artifact", lambda name: _show_artifact(catalog(), name))

    @pages.post("/models/artifacts/<name>/check")
    @marked(Mark.CHANGES_NOTHING)
    def check(name: str) -> str | tuple[str, int]:
        return _show_artifact(catalog(), name, asked=context.backend)

    pages.add_url_rule(
        "/models/artifacts/<name>/golden/<int:number>.jpg",
        "golden_image",
        lambda name, number: _send_golden(catalog(), name, number),
    )
    pages.add_url_rule("/models/runs/<name>", "run", lambda name: _show_run(catalog(), name))
    pages.add_url_rule(
        "/models/runs/<name>/photos/<digest>.jpg",
        "run_photo",
        lambda name, digest: _send_photo(catalog(), name, digest),
    )
    pages.add_url_rule("/models/kept", "kept", lambda: _show_kept(context.backend.images))
    pages.add_url_rule("/models/compare", "compare", lambda: _show_comparison(catalog()))
    return pages


def _show_list(catalog: Catalog) -> str:
    artifacts, runs = catalog.locations("artifact"), catalog.locations("run")
    if not (artifacts or runs):
        return render_template("models/show.html", artifacts=(), runs=(), hidden=0)
    from eaves.console.catalog import overview

    return render_template(
        "models/show.html",
        artifacts=overview.build_artifact_rows(catalog, artifacts[: overview.SHOWN]),
        runs=overview.build_run_rows(catalog, runs[: overview.SHOWN]),
        hidden=max(0, len(artifacts) - overview.SHOWN) + max(0, len(runs) - overview.SHOWN),
    )


def _show_artifact(catalog: Catalog, name: str, *, asked: Backend | None = None) -> str | tuple[str, int]:
    """Show an artifact; with `asked`, the function that serves it answers the golden images."""
    location = _find(catalog, "artifact", name)
    from eaves.console.catalog.artifact_page import GOLDEN, LABELS, build_artifact_page
    from eaves.console.catalog.update_size import compute_update

    try:
        artifact = catalog.artifact(location)
        page = build_artifact_page(artifact)
        produced = _ask_golden(asked, location, artifact, page.golden) if asked and location.functions else {}
    except EavesError as error:
        return _show_fault(error, f"The artifact {location.name}")
    updates = []
    for other in catalog.locations("artifact")[: MAX_UPDATES + 1]:
        if other.name != location.name:
            try:
                updates.append((other, compute_update(catalog.artifact(other), artifact).text))
            except EavesError:
                continue  # the list of models says what is wrong with it
    return render_template(
        "models/artifact.html",
        location=location,
        page=page,
        updates=updates,
        run=catalog.run_of(artifact),
        produced=produced,
        limits={"golden": GOLDEN, "labels": LABELS},
    )


def _ask_golden(
    backend: Backend, location: ModelLocation, artifact: Artifact, rows: tuple[GoldenRow, ...]
) -> dict[int, ProducedAnswer]:
    from eaves.console.catalog.golden_check import ask_golden

    function = location.functions[0]
    site = next((one.site for one in backend.status() if one.name == function), "")
    return ask_golden(backend, function, site, artifact, rows)


def _send_golden(catalog: Catalog, name: str, number: int) -> Response:
    location = _find(catalog, "artifact", name)
    from eaves.artifact import load_golden
    from eaves.console.catalog.photos import read_golden

    try:
        artifact = catalog.artifact(location)
        cases = load_golden(artifact)
    except EavesError:
        abort(404)
    return _send_thumbnail(read_golden(artifact, cases[number]) if number < len(cases) else None)


def _show_run(catalog: Catalog, name: str) -> str | tuple[str, int]:
    location = _find(catalog, "run", name)
    from eaves.console.catalog.photos import RunPhotos
    from eaves.console.catalog.runs.confusion import select_mistakes
    from eaves.console.catalog.runs.page import build_run_page

    arguments = request.args
    try:
        files = catalog.run(location)
        page = build_run_page(files)
        answers = files.answers
        photos = RunPhotos(files, answers or {})
    except EavesError as error:
        return _show_fault(error, f"The run {location.name}")
    mistakes = select_mistakes(
        answers or {},
        page.labels,
        truth=arguments.get("truth", type=int),
        predicted=arguments.get("predicted", type=int),
        page=arguments.get("page", 1, type=int),
    )
    return render_template(
        "models/run.html",
        location=location,
        page=page,
        mistakes=None if answers is None else mistakes,
        here={photo.digest for photo in mistakes.photos if photos.is_here(photo.digest)},
        truth=arguments.get("truth", type=int),
        predicted=arguments.get("predicted", type=int),
        artifacts=_artifacts_of(catalog, files.digest),
    )


def _artifacts_of(catalog: Catalog, digest: str) -> list[ModelLocation]:
    """Return the artifacts that were converted from a run."""
    made = []
    for location in catalog.locations("artifact"):
        try:
            if catalog.artifact(location).manifest.source.digest == digest:
                made.append(location)
        except EavesError:
            continue
    return made


def _send_photo(catalog: Catalog, name: str, digest: str) -> Response:
    location = _find(catalog, "run", name)
    from eaves.console.catalog.photos import RunPhotos

    try:
        files = catalog.run(location)
        photo = RunPhotos(files, files.answers or {}).read(digest)
    except EavesError:
        abort(404)
    return _send_thumbnail(photo)


def _show_comparison(catalog: Catalog) -> str | tuple[str, int]:
    first, second = (_parse_choice(catalog, request.args.get(side, "")) for side in ("a", "b"))
    choices = {kind: catalog.locations(kind)[:500] for kind in KINDS}
    if first is None or second is None:
        return render_template("models/compare.html", choices=choices, first=first, second=second, fault="")
    if first.kind != second.kind:
        fault = "A run and an artifact can't be compared. Choose two runs, or two artifacts."
        return render_template("models/compare.html", choices=choices, first=first, second=second, fault=fault)
    try:
        values = (
            _compare_runs(catalog, first, second) if first.kind == "run" else _compare_artifacts(catalog, first, second)
        )
    except EavesError as error:
        return _show_fault(error, "The comparison")
    return render_template(
        f"models/compare_{first.kind}s.html", choices=choices, first=first, second=second, fault="", **values
    )


def _compare_runs(catalog: Catalog, first: ModelLocation, second: ModelLocation) -> dict[str, object]:
    from eaves.console.catalog.photos import RunPhotos
    from eaves.console.catalog.runs.comparison import DIFFERING, compare_runs

    files = catalog.run(first), catalog.run(second)
    found = compare_runs(*files)
    photos = RunPhotos(files[0], files[0].answers or {})
    here = {image.digest for image in found.differing if photos.is_here(image.digest)}
    return {"found": found, "here": here, "limit": DIFFERING}


def _compare_artifacts(catalog: Catalog, first: ModelLocation, second: ModelLocation) -> dict[str, object]:
    from eaves.console.catalog.artifact_comparison import compare_artifacts

    artifacts = catalog.artifact(first), catalog.artifact(second)
    return {
        "found": compare_artifacts(*artifacts),
        "runs": tuple(catalog.run_of(artifact) for artifact in artifacts),
    }


def _show_kept(images: Images) -> str:
    """Show the images that are kept with their predictions; labelling will begin with them."""
    kept = images.kept(before=request.args.get("before", type=int), limit=KEPT + 1)
    shown = [(image, build_row(image.predictions[-1]) if image.predictions else None) for image in kept[:KEPT]]
    older = kept[KEPT - 1].number if len(kept) > KEPT else None
    return render_template("models/kept.html", shown=shown, older=older)


def _parse_choice(catalog: Catalog, text: str) -> ModelLocation | None:
    """Return the run or artifact that an address names as `run:NAME` or `artifact:NAME`; None when there is none."""
    kind, _, name = text.partition(":")
    return catalog.find(kind, name) if kind in KINDS else None


def _find(catalog: Catalog, kind: str, name: str) -> ModelLocation:
    location = catalog.find(kind, name)
    if location is None:
        abort(404)
    return location


def _show_fault(error: EavesError, what: str) -> tuple[str, int]:
    return render_template("models/fault.html", what=what, error=error), 422


def _send_thumbnail(image: bytes | None) -> Response:
    """Send an image as a JPEG thumbnail, which can hold nothing that a browser runs."""
    from eaves.console.thumbnails.maker import make_thumbnail

    return send_picture(None if image is None else make_thumbnail(image), max_age_s=86_400)
