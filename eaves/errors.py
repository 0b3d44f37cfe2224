"""The one exception tree.

A message says what failed and the value seen; the hint says which command or edit mends it. `exit_code` is what a
process ends with (sysexits.h numbers), `http_status` what a sender is told, chosen by what it should do next.

    EavesError                     exit 1   HTTP 500
    ├── ConfigError                exit 78  HTTP 500   every fault of a configuration, together
    ├── InputError                 exit 65  HTTP 400   what was sent or given can't be used; sending it again won't help
    │   ├── EventError                      HTTP 400   not a well-formed CloudEvent
    │   │   └── UnsupportedContentError     HTTP 415   a content type or mode that is not taken
    │   ├── ImageError                      HTTP 422   not an image, or a broken one
    │   │   └── ImageTooLargeError          HTTP 413   more bytes or pixels than allowed
    │   ├── ClaimError                      HTTP 422   a dataref that may not be fetched, or leads to nothing
    │   │   └── ClaimTooLargeError          HTTP 413   ... or to more bytes than allowed
    │   ├── TensorError                     HTTP 422   not the numbers that a model takes
    │   ├── DatasetError                               no usable training data
    │   ├── StuckTrainingError                         a training that learns nothing from its data
    │   └── RunError                                   a directory that is not a complete run
    ├── ArtifactError              exit 65  HTTP 503   an artifact that is damaged or that this code can't serve
    │   ├── GoldenError                                a model that doesn't reproduce its recorded outputs
    │   └── LoadingError                               a model that isn't loaded yet
    ├── HandlerError               exit 70  HTTP 500   an artifact's handler.py that fails
    ├── ConversionError            exit 70  HTTP 500   a model that could not be converted
    │   └── ParityError                                ... or that answers differently once converted
    ├── RefusedModelError          exit 79             a model that is not good enough to be published
    ├── SpoolError                 exit 74  HTTP 503   the durable queue can't be read or written
    │   ├── SpoolFullError         exit 75  HTTP 429   it has reached its limit
    │   └── SpoolDamagedError                          its file is damaged; what can be read is carried over
    ├── StorageError               exit 74  HTTP 503   files, here or at a URI, can't be read or written
    ├── StoppedError               exit 75  HTTP 503   asked to stop, stopped in good order; start it again
    ├── CancelledError             exit 130 HTTP 503   ended by Ctrl-C; nothing is left of what was begun
    ├── DeliveryError              exit 69  HTTP 503   no usable answer over HTTP
    │   ├── UnreachableError                           nothing was sent: no connection, proxy or TLS
    │   └── StatusError                                an HTTP answer whose status is no success
    ├── OverloadedError            exit 75  HTTP 429   more work at once than the bounded queue takes
    ├── InWorkError                exit 75  HTTP 409   the same event is in work already
    ├── ForbiddenError             exit 77  HTTP 403   a caller that isn't let in
    ├── OciError                   exit 65             a container image that can't be built, read or written
    │   ├── OciNotFoundError       exit 66             ... that isn't there
    │   ├── RegistryError          exit 69             a registry that doesn't answer, or not as it should
    │   │   └── AccessError        exit 77             ... or that doesn't let in
    │   └── SignatureError         exit 77             a container image that isn't signed by this key
    └── PlatformError              exit 69  HTTP 503   what runs functions failed
        ├── NotRunningError                            no platform answers here
        ├── NotFoundError          exit 66  HTTP 404   no function (source, trigger) of that name
        ├── StartError                                 a function that doesn't become ready
        ├── FleetError                                 not every one of several sites is done
        └── ClusterError                               a cluster's API server refuses or fails
            ├── UnreachableClusterError                no answer: link down, server down, time ran out
            ├── DeniedError        exit 77             not logged in, or not allowed
            ├── InvalidError       exit 65             what was sent is not a valid object
            ├── AbsentError        exit 66  HTTP 404   no such namespace, kind or object there
            └── ConflictError      exit 75             another field manager, or a newer version, stands in the way
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class EavesError(Exception):
    """Root of every error Eaves raises on purpose.

    Args:
        message: What failed, with the value seen.
        hint: The command or edit that mends it; None when there is nothing to add.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with a configuration.

    Attributes:
        origin: Where the value came from: a file's name, an environment variable, a flag.
        path: Dotted path of the setting, `scale.max`.
        message: What is wrong and the value seen.
    """

    origin: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.path}: {self.message}" if self.path else f"{self.origin}: {self.message}"


class ConfigError(EavesError):
    """A configuration with faults, all of them reported at once."""

    exit_code = 78

    def __init__(self, faults: Sequence[Fault], *, hint: str | None = None) -> None:
        super().__init__("\n".join(str(fault) for fault in faults), hint=hint)
        self.faults = tuple(faults)


class InputError(EavesError):
    """What was sent or given can't be used, and sending it again won't help."""

    exit_code = 65
    http_status = 400


class EventError(InputError):
    """Not a well-formed CloudEvent."""


class UnsupportedContentError(EventError):
    """A content type or content mode that is not taken."""

    http_status = 415


class ImageError(InputError):
    """Bytes that are not an image, or a broken one."""

    http_status = 422


class ImageTooLargeError(ImageError):
    """More bytes or pixels than allowed."""

    http_status = 413


class ClaimError(InputError):
    """A reference to data (`dataref`) that may not be fetched, leads to nothing, or to other data than it says."""

    http_status = 422


class ClaimTooLargeError(ClaimError):
    """A reference to more bytes than allowed."""

    http_status = 413


class TensorError(InputError):
    """Not the numbers that a model takes: no JSON, another shape, not finite."""

    http_status = 422


class DatasetError(InputError):
    """No usable training data."""


class StuckTrainingError(InputError):
    """A training whose loss stays where it is while every held-out image gets the same answer."""


class RunError(InputError):
    """A directory that is not a complete training run."""


class ArtifactError(EavesError):
    """An artifact that is damaged, or that this code can't serve."""

    exit_code = 65
    http_status = 503


class GoldenError(ArtifactError):
    """A model that doesn't reproduce its recorded outputs on this machine."""


class LoadingError(ArtifactError):
    """A model that isn't loaded yet; asking again later helps."""


class HandlerError(EavesError):
    """An artifact's handler.py that can't be loaded, fails or returns what the graph doesn't take."""

    exit_code = 70


class ConversionError(EavesError):
    """A model that could not be converted."""

    exit_code = 70


class ParityError(ConversionError):
    """A converted model that answers differently from the trained one."""


class RefusedModelError(EavesError):
    """A model that is not good enough to be published, or not shown to be; sysexits.h has no number for it."""

    exit_code = 79


class SpoolError(EavesError):
    """The durable queue can't be read or written."""

    exit_code = 74
    http_status = 503


class SpoolFullError(SpoolError):
    """The durable queue has reached its limit; nothing was stored."""

    exit_code = 75
    http_status = 429


class SpoolDamagedError(SpoolError):
    """The durable queue's file is damaged. The next call carries what can be read into a new file."""


class StorageError(EavesError):
    """Files can't be read or written, on this machine's disk or at a URI."""

    exit_code = 74
    http_status = 503


class StoppedError(EavesError):
    """Asked to stop and stopped in good order; the same command goes on from there."""

    exit_code = 75
    http_status = 503


class CancelledError(EavesError):
    """Ended by Ctrl-C, and nothing is left of what was begun: the same command begins again."""

    exit_code = 130
    http_status = 503


class DeliveryError(EavesError):
    """No usable HTTP answer: no connection, time ran out, the connection broke, or the answer was too large."""

    exit_code = 69
    http_status = 503


class UnreachableError(DeliveryError):
    """Nothing was sent: no connection, no way through a proxy, or no trust in a certificate.

    The event is not to blame, and waiting costs it no attempt.
    """


class StatusError(DeliveryError):
    """An HTTP answer whose status is no success.

    Args:
        message: What was asked, and what was answered.
        status: The HTTP status.
        detail: What the answer says about it, for people.
        retry_after_s: What the answer asks for in Retry-After, seconds; None without it.
        hint: The command or edit that mends it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        detail: str = "",
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.detail = detail
        self.retry_after_s = retry_after_s


class OverloadedError(EavesError):
    """More work at once than the bounded queue takes; try again later."""

    exit_code = 75
    http_status = 429


class InWorkError(EavesError):
    """The same event is in work already and takes long; try again later."""

    exit_code = 75
    http_status = 409


class ForbiddenError(EavesError):
    """A caller that isn't let in."""

    exit_code = 77
    http_status = 403


class OciError(EavesError):
    """A container image that can't be built, read or written."""

    exit_code = 65


class OciNotFoundError(OciError):
    """A container image, or a part of one, that isn't there."""

    exit_code = 66


class RegistryError(OciError):
    """A registry that can't be reached, fails, or doesn't answer as it should."""

    exit_code = 69


class AccessError(RegistryError):
    """A registry that doesn't let us in, or not to this."""

    exit_code = 77


class SignatureError(OciError):
    """A container image that isn't signed by this key, or was altered since."""

    exit_code = 77


class PlatformError(EavesError):
    """What runs functions failed."""

    exit_code = 69
    http_status = 503


class NotRunningError(PlatformError):
    """No platform answers here."""


class NotFoundError(PlatformError):
    """No function, source or trigger of that name."""

    exit_code = 66
    http_status = 404


class StartError(PlatformError):
    """A function that doesn't become ready."""


class FleetError(PlatformError):
    """Not every one of several sites is done."""


class ClusterError(PlatformError):
    """A cluster's API server refuses, or fails."""


class UnreachableClusterError(ClusterError):
    """A cluster's API server that gives no answer: the link is down, the server is, or time ran out."""


class DeniedError(ClusterError):
    """A cluster where we are not logged in, or not allowed to do this."""

    exit_code = 77


class InvalidError(ClusterError):
    """An object that a cluster's API server or one of its webhooks refuses; sending it again won't help."""

    exit_code = 65


class AbsentError(ClusterError):
    """A namespace, a kind of object or an object that a cluster doesn't have."""

    exit_code = 66
    http_status = 404


class ConflictError(ClusterError):
    """Fields that another manager owns, or an object that changed since it was read.

    Args:
        message: What stands in the way.
        hint: What to do about it.
        causes: (manager, field) of each, when that is what it is about.
    """

    exit_code = 75

    def __init__(self, message: str, *, hint: str | None = None, causes: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, hint=hint)
        self.causes = tuple(causes)
