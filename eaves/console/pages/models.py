"""The pages of models: the list of runs, and each run with its photos and the gate's answer; deploy its artifact.

`eaves.console.catalog` needs NumPy, so it is imported when there is a run to show: a site has none, and the container
image of its console no NumPy.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from eaves.console.backend import Backend, ConsoleContext
from eaves.console.guard import REPORT_POLICY
from eaves.console.pages.images import send_picture
from eaves.errors import EavesError

RUN_JOBS = ("train", "deploy")
"""Kinds of jobs whose result names a run."""


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
            return _show_run(path, describe_gate(backend, name, path))
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

    @pages.route("/models/runs/<name>/deploy", methods=["GET", "POST"])
    def deploy(name: str) -> tuple[str, int] | AnyResponse:
        found, fault = describe_gate(backend, name, find_run(name)), ""
        if request.method == "POST" and backend.jobs and found["can_deploy"]:
            try:
                backend.jobs.start("deploy", artifact=str(found["gate"].path))
                return redirect(url_for("models.run", name=name, _anchor="gate"), HTTPStatus.SEE_OTHER)
            except EavesError as error:
                fault = error.message
        status = HTTPStatus.OK if request.method == "GET" else HTTPStatus.CONFLICT
        return render_template("models/confirm.html", **found, fault=fault), status

    return pages


def describe_gate(backend: Backend, name: str, path: Path) -> dict[str, Any]:
    """Return what templates show of the gate's answer for a run, and of the jobs that concern the run.

    The artifact may be deployed when what serves now is what it was compared with, and the gate has let it pass or has
    too little evidence, as a canary and audit labels judge it, too.
    """
    from eaves.console.catalog import read_gate

    gate, jobs, served = read_gate(path), backend.jobs, None
    with suppress(EavesError):  # without the platform, only a first deployment is offered
        served = next((one for one in backend.status() if gate and one.name == gate.function), None)
    serving = [served.artifact_digest] if served else []
    shares = dict.fromkeys(serving, 100)
    if served and served.rollout:  # it names revisions by the beginning of the digest
        shares = {one.revision: one.percent for one in served.rollout.revisions}
    known = {kind: jobs.status(kind) for kind in RUN_JOBS} if jobs else {}
    is_offered = gate is not None and (gate.passed or (gate.lacks and serving)) and list(gate.replaces) == serving
    return {
        "name": name,
        "gate": gate,
        "served": served,
        "share": sum(share for name, share in shares.items() if gate and name and gate.artifact.startswith(name)),
        "can_deploy": jobs is not None and is_offered,
        "jobs": {kind: job for kind, job in known.items() if job.result.get("run") == name},
    }


def _show_run(path: Path, gate: dict[str, Any]) -> str:
    from eaves.console.catalog import build_run_page, foreign_content, open_run, select_mistakes

    files = open_run(path)
    truth, predicted = (request.args.get(one, type=int) for one in ("truth", "predicted"))
    number = request.args.get("page", 1, type=int)
    with foreign_content(f"the run {path.name}"):
        page, answers = build_run_page(files), files.answers
        mistakes = select_mistakes(answers or {}, page["labels"], truth=truth, predicted=predicted, page=number)
        here = {photo.digest for photo in mistakes.photos if files.find_photos(photo.digest)}
    return render_template(
        "models/run.html",
        **gate,
        page=page,
        mistakes=None if answers is None else mistakes,
        here=here,
        truth=truth,
        predicted=predicted,
    )
