"""Values that a trial of a source returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from eaves.errors import DeliveryError, EavesError, ForbiddenError, InputError, NotFoundError, UnreachableError
from eaves.events import Event

FailureCode = Literal[
    "unreachable",
    "untrusted",
    "refused_login",
    "not_found",
    "no_video",
    "unsupported",
    "broken",
    "no_image",
    "missing_library",
    "failed",
]
"""Kind of a failure. Most are those of `eaves.sources.camera.wire.FailureCode`. `no_image`: the source works, and no
image came within the time limit. `failed`: another error of the source."""
_ERRORS: Mapping[FailureCode, type[EavesError]] = {
    "unreachable": UnreachableError,
    "untrusted": UnreachableError,
    "refused_login": ForbiddenError,
    "not_found": NotFoundError,
    "no_video": InputError,
    "unsupported": InputError,
    "broken": DeliveryError,
    "no_image": DeliveryError,
    "missing_library": EavesError,
    "failed": EavesError,
}

_STEPS: Mapping[FailureCode, str] = {
    "unreachable": "connection",
    "untrusted": "TLS",
    "refused_login": "login",
    "not_found": "path",
    "no_video": "video",
    "unsupported": "format",
    "missing_library": "decoder",
}
"""Code of a failure to the step of the connection that fails with it; others fail at the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStep:
    """One step of a trial that succeeded, or the one that failed.

    Attributes:
        name: Name of the step, such as `address` or `TLS`.
        detail: What was found, as a short text without credentials.
        passed: Whether the step succeeded.
    """

    name: str
    detail: str
    passed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What a camera's decoder found in the stream.

    Attributes:
        codec: Name of the codec, such as `h264`.
        width: Width of the frames, pixels.
        height: Height of the frames, pixels.
        rate: Frames per second that the stream declares; 0 when it declares none.
        decoding: `none`, `key` or `all`, see `eaves.sources.camera.wire.Opened`.
        key_interval_s: Seconds between two key frames; 0 when it isn't known.
        opened_s: Seconds until the stream was open.
    """

    codec: str
    width: int
    height: int
    rate: float
    decoding: str
    key_interval_s: float
    opened_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFigures:
    """Figures of one image.

    Attributes:
        width: Width of the upright image, pixels.
        height: Height of the upright image, pixels.
        brightness: Mean of the grey levels, 0 to 255.
        contrast: Standard deviation of the grey levels.
        remark: What the figures may mean for a person, such as a black image; empty when the image looks usual.
    """

    width: int
    height: int
    brightness: float
    contrast: float
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the source will send.

    Attributes:
        interval_s: Mean seconds between two images.
        images_per_hour: Number of images an hour, while the source captures.
        bytes_per_day: Number of bytes a day, within the hours of capture.
    """

    interval_s: float
    images_per_hour: float
    bytes_per_day: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a trial got no image.

    Attributes:
        code: Kind of the failure.
        message: Reason as a sentence without credentials.
        hint: What to do; empty when there is nothing to add.
    """

    code: FailureCode
    message: str
    hint: str = ""

    @property
    def step(self) -> str:
        """Name of the step that failed."""
        return _STEPS.get(self.code, "image")

    def to_error(self) -> EavesError:
        """Return the error that ends the command."""
        return _ERRORS[self.code](self.message, hint=self.hint or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTrial:
    """Result of a trial.

    Attributes:
        name: Name of the source.
        kind: Kind of the source.
        place: Address or path of the source, without credentials.
        steps: Steps in order; the last one may have failed.
        stream: What the decoder found; None for a source that isn't a video stream.
        first_image_s: Seconds from the start of the source to its first image; None without an image.
        event: Event of the first image; None without an image.
        picture: Figures of the first image; None when it can't be decoded.
        load: What the source will send; None when it isn't known.
        within_hours: Whether the option `hours` allows captures now.
        dropped: Numbers of dropped images, by cause.
        notes: Messages that the source logged.
        failure: Why there is no image; None with an image.
    """

    name: str
    kind: str
    place: str
    steps: tuple[TrialStep, ...] = ()
    stream: StreamFacts | None = None
    first_image_s: float | None = None
    event: Event | None = None
    picture: PictureFigures | None = None
    load: Load | None = None
    within_hours: bool = True
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
