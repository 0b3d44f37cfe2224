"""The page Labels: people say what photos show, see whether it is enough, and train a model of it.

The labels are in a `LabelBook`. What a model says about the photos is in a file that the job `review` writes: photos
that belong together (piles), a guess for each photo, and how much the labels so far are worth.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from eaves.console.backend import Backend, CachedAnswer, ConsoleContext
from eaves.console.guard import UPLOAD_BYTES, wants_page
from eaves.console.pages.images import SHOWN
from eaves.console.pages.try_it import clean_name
from eaves.console.thumbnails import has_image, make_thumbnail
from eaves.console.words import clean_text
from eaves.dataset_folder import is_audit
from eaves.errors import (
    ConflictError,
    EavesError,
    ImageError,
    InputError,
    LabelConflictError,
    NotFoundError,
)
from eaves.labels import NOT_USABLE, LabelBook, Photo, find_name_fault
from eaves.media_type import sniff

PAGE = 5_000
"""Number of photos in one answer of the list."""
WHO, WHO_CHARACTERS, WHO_S = "eaves-who", 60, 365 * 86_400
"""Cookie with a person's name, its maximum number of characters, and the time for which a browser keeps it, seconds."""
WHOLE_BYTES, WHOLE_SIDE = 4_000_000, 1_600
"""Size up to which a photo is shown as it is, bytes; a larger one is scaled to this number of pixels."""
KEEP = "private, max-age=3600"
"""Caching of a photo: a file that is replaced is shown after an hour at the latest."""
MIN_CLASSES, MIN_PHOTOS = 2, 5
"""Number of classes, and of labelled photos in each, from which a training is offered."""
STALE_LABELS, FIRST_LABELS = 25, 10
"""Number of labels after which the review is made again: of later ones, and before there are guesses."""
JOBS: Mapping[str, Sequence[str]] = {"review": (), "collect": ("source", "wanted"), "train": ("where",)}
"""Kind of a job that the page starts to its options."""


NOTHING: Sequence[Any] = ("", None, None, None, None)
"""What a review says about a photo: its likely label and the margin to the next one, the number of its pile, its rank
among the labels that the model contradicts, and the gain of the others' predictions without it; here, nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What a model says about the photos; empty before it was asked. See `trainer.labelling`.

    Attributes:
        stamp: Time at which the file was written, as text; different for each review.
        document: The file's content.
        photos: A photo's file to what is said about it, as in `NOTHING`.
    """

    stamp: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    photos: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def describe(self, photo: Photo) -> Sequence[Any]:
        """Return what is said about a photo."""
        return self.photos.get(photo.file, NOTHING)

    def pick(self, photos: Sequence[Photo]) -> Photo | None:
        """Return the photo to label next: one of the audit sample, then the least sure; None when all have labels."""
        waiting = (photo for photo in photos if not photo.label)
        return min(waiting, key=lambda one: (not is_audit(one.file), self.describe(one)[1] or 0.0), default=None)


def load_review(path: Path) -> Review:
    """Load the newest review; an empty one when there is none."""
    try:
        stamp, document = str(path.stat().st_mtime_ns), json.loads(path.read_bytes())
    except (OSError, ValueError):
        return Review()
    photos = defaultdict[str, list[Any]](lambda: [*NOTHING])
    for file, guess in document.get("suggestions", {}).items():
        photos[file][:2] = guess["label"], guess["margin"]
    for number, pile in enumerate(document.get("piles", ())):
        for file in pile:
            photos[file][2] = number
    for rank, one in enumerate(document.get("disagreements") or ()):
        photos[one["file"]][3] = rank
    for one in document.get("harmful", ()):
        photos[one["file"]][4] = one["gain"]
    return Review(stamp=stamp, document=document, photos=dict(photos))


class Desk:
    """What the page shows: the book, the review, and the jobs.

    Attributes:
        review: The newest review.
    """

    def __init__(self, context: ConsoleContext) -> None:
        self._backend = backend = context.backend
        self.review = CachedAnswer(
            lambda: load_review(backend.jobs.review) if backend.jobs else Review(), 1.0, context.clock
        )

    @property
    def book(self) -> LabelBook:
        """The labels; a NotFoundError where there is no folder of photos."""
        if (book := self._backend.labels) is None:
            raise NotFoundError("no folder of photos is known here", hint="eaves init")
        return book

    def find_correction(self, seq: int) -> dict[str, Any] | None:
        """Return what the form needs by which an event's picture gets a label; None without a picture or a dataset."""
        backend = self._backend
        record = backend.records.get(seq)
        if (book := backend.labels) is None or record is None or not has_image(record):
            return None
        with suppress(EavesError):
            if backend.images.image(*record.image) is not None:
                return {"classes": book.classes(), "who": read_who()}
        return None

    def panel(self) -> dict[str, Any]:
        """Return what the part of the page needs that is refreshed."""
        book, jobs, review = self.book, self._backend.jobs, self.review.get()
        photos, known = book.photos(), {kind: jobs.status(kind) for kind in JOBS} if jobs else {}
        counts = Counter(photo.label for photo in photos if not is_audit(photo.file))
        per_class = {name: counts[name] for name in book.classes()}
        enough = [name for name, count in per_class.items() if count >= MIN_PHOTOS]
        good = jobs.good if jobs else ""
        run = known["train"].result.get("run", "") if known else ""
        return {
            "photos": photos,
            "labelled": sum(photo.label != "" for photo in photos),
            "per_class": per_class,
            "audits": self._list_audits(),
            "is_enough": good in enough if good else len(enough) >= MIN_CLASSES,
            "good": good,
            "alone": enough[0] if len(enough) == 1 and not good else "",
            "needed": MIN_PHOTOS,
            "review": review,
            "is_stale": bool(known) and known["review"].state not in ("running", "failed") and _is_old(photos, review),
            "run": run if run in self._backend.runs() else "",
            "jobs": known,
            "places": jobs.places if jobs else (),
        }

    def _list_audits(self) -> Mapping[str, str]:
        """Return what the audit sample says of the model of each function that it was asked about."""
        with suppress(EavesError):  # the platform doesn't answer
            return {one.name: one.audit for one in self._backend.status() if one.audit}
        return {}


def _is_old(photos: Sequence[Photo], review: Review) -> bool:
    """Return whether the review should be made again."""
    since = review.document.get("created", "")
    later = sum(photo.when > since for photo in photos)
    is_known = later < (STALE_LABELS if review.document.get("suggestions") else FIRST_LABELS)
    return len(photos) > 1 and not (since and is_known)


def read_who() -> str:
    """Return the name of the person who sends the present request, in its form or cookie; empty when it has none."""
    given = request.form.get("who", "") or unquote(request.cookies.get(WHO, ""))
    return clean_text(" ".join(given.split()), WHO_CHARACTERS)


def require_who() -> str:
    """Return the name of the person; an InputError when it isn't known, or can't be one."""
    if not (who := read_who()):
        raise InputError("each label has the name of a person", hint="write yours into the field Your name")
    if fault := find_name_fault(who):
        raise InputError(f"{who!r} can't be used as a name: {fault}", hint="write another one into the field Your name")
    return who


def respond(**values: Any) -> BaseResponse:
    """Answer the script with values, and a browser without it with the page."""
    return redirect(url_for("labels.show"), HTTPStatus.SEE_OTHER) if wants_page() else jsonify(values)


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the page Labels."""
    pages, desk = Blueprint("labels", __name__), Desk(context)
    _add_views(pages, desk)
    _add_changes(pages, desk)
    _add_sources(pages, desk)
    _add_work(pages, desk, context.backend)

    pages.add_app_template_global(desk.find_correction, "find_correction")

    @pages.errorhandler(LabelConflictError)
    def show_conflict(error: LabelConflictError) -> tuple[str | Response, int]:
        if wants_page():
            return render_template("faults/show.html", message=error.message, fix=error.hint), HTTPStatus.CONFLICT
        said = {file: {"label": one.label, "who": one.who, "when": one.when} for file, one in error.conflicts.items()}
        return jsonify(message=error.message, conflicts=said), HTTPStatus.CONFLICT

    @pages.after_request
    def remember(response: Response) -> Response:
        if "who" in request.form and (who := read_who()):
            response.set_cookie(WHO, quote(who), max_age=WHO_S, secure=request.is_secure, httponly=True, samesite="Lax")
        return response

    return pages


def _add_views(pages: Blueprint, desk: Desk) -> None:
    @pages.get("/labels")
    def show() -> str:
        panel, book, who = desk.panel(), desk.book, read_who()
        wanted = request.args.get("file", "")
        photo = book.find(wanted) if wanted else panel["review"].pick(panel["photos"])
        return render_template(
            "labels/show.html",
            photo=photo,
            guess=panel["review"].describe(photo)[0] if photo else "",
            folder=book.folder,
            who=who,
            last=book.last(who),
            not_usable=NOT_USABLE,
            max_bytes=UPLOAD_BYTES,
            **panel,
        )

    @pages.get("/parts/labels")
    def panel() -> str:
        return render_template("labels/panel.html", **desk.panel())

    @pages.get("/labels/rows")
    def rows() -> Response:
        photos, review = desk.book.photos(), desk.review.get()
        begin = bisect_right(photos, request.args.get("after", ""), key=lambda photo: photo.file)
        shown = photos[begin : begin + PAGE]
        after = shown[-1].file if begin + PAGE < len(photos) else ""
        described = [[photo.file, photo.label, *review.describe(photo)] for photo in shown]
        return jsonify(rows=described, after=after, total=len(photos))

    @pages.get("/labels/photos/<path:file>")
    def photo(file: str) -> BaseResponse:
        known = desk.book.find(file) or abort(404)
        return send_photo(desk.book.folder / known.file, small="small" in request.args)

    @pages.get("/labels/labels.csv")
    def export() -> Response:
        headers = {"Content-Disposition": 'attachment; filename="labels.csv"'}
        return Response(desk.book.export_csv(), content_type="text/csv; charset=utf-8", headers=headers)


def send_photo(path: Path, *, small: bool) -> BaseResponse:
    """Send a photo of the dataset, as it is or scaled; 304 to a browser that has it.

    Args:
        path: Path of the file.
        small: Whether a thumbnail is wanted.
    """
    try:
        found = path.stat()
        response = Response(headers={"Cache-Control": KEEP}, content_type="image/jpeg")
        response.set_etag(f"{found.st_mtime_ns:x}-{found.st_size:x}{'-small' * small}")
        if response.make_conditional(request).status_code == HTTPStatus.NOT_MODIFIED:
            return response
        data = path.read_bytes()
    except OSError:
        abort(404)
    kind = sniff(data)
    if small or kind not in SHOWN or len(data) > WHOLE_BYTES:
        data, kind = (make_thumbnail(data) if small else make_thumbnail(data, WHOLE_SIDE)) or abort(404), "image/jpeg"
    response.data, response.content_type = data, kind
    return response


def _add_changes(pages: Blueprint, desk: Desk) -> None:
    @pages.post("/labels/who")
    def name_person() -> BaseResponse:
        return respond(who=(who := require_who()), last=desk.book.last(who))

    @pages.post("/labels/classes")
    def name_classes() -> BaseResponse:
        who = require_who()
        for name in filter(None, (part.strip() for part in request.form.get("names", "").split(","))):
            desk.book.name_class(name, who)
        return respond(classes=list(desk.book.classes()))

    @pages.post("/labels/put")
    def put() -> BaseResponse:
        form, files = request.form, request.form.getlist("file")
        who, before = require_who(), dict.fromkeys(files, form["before"])
        return respond(last=desk.book.put(dict.fromkeys(files, form["label"]), who=who, before=before))

    @pages.post("/labels/undo")
    def undo() -> BaseResponse:
        who = require_who()
        labels = desk.book.undo(who, request.form.get("last", ""))
        return respond(labels=labels, last=desk.book.last(who))


def _add_sources(pages: Blueprint, desk: Desk) -> None:
    @pages.post("/labels/photos")
    def add() -> BaseResponse:
        added, refused = [], []
        for photo in filter(lambda one: one.filename, request.files.getlist("photo")):
            name = clean_name(photo.filename or "")
            try:
                added.append(desk.book.add_photo(name, photo.stream.read()))
            except ImageError as error:
                refused.append(error.message)
        if refused and wants_page():
            raise ImageError("; ".join(refused))
        return respond(added=added, refused=refused)

    @pages.post("/labels/import")
    def import_labels() -> str:
        who, file = require_who(), request.files.get("labels") or abort(400)
        try:
            text = file.stream.read().decode("utf-8-sig")
            document = json.loads(text) if text.lstrip().startswith(("[", "{")) else None
        except ValueError as error:
            raise InputError(f"the file of labels can't be read: {error}") from error
        book = desk.book
        found = book.import_csv(text, who) if document is None else book.import_label_studio(document, who)
        return render_template("labels/imported.html", found=found)


def _add_work(pages: Blueprint, desk: Desk, backend: Backend) -> None:
    @pages.post("/labels/jobs/<kind>")
    def start(kind: str) -> BaseResponse:
        if (jobs := backend.jobs) is None or kind not in JOBS:
            abort(404)
        try:
            options = {name: request.form[name].strip() for name in JOBS[kind]}
            if kind == "train" and (good := request.form.get("good", "")):
                options["good"] = good
            jobs.start(kind, **options)
        except ConflictError:
            if kind != "review":  # the page asks for reviews by itself, and the next one has the newest labels
                raise
        return respond()

    @pages.post("/labels/events/<int:seq>")
    def correct(seq: int) -> BaseResponse:
        who, record = require_who(), backend.records.get(seq)
        picture = None if record is None else backend.images.image(*record.image)
        if record is None or picture is None:
            raise NotFoundError("the platform doesn't hold this image any more")
        file = desk.book.add_photo(clean_name(record.subject or f"event-{seq}"), picture)
        desk.book.put({file: request.form["label"]}, who=who)
        return redirect(url_for("events.detail", seq=seq, said=request.form["label"]), HTTPStatus.SEE_OTHER)
