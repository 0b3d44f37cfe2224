"""The tree of all exceptions that Eaves raises for its users.

A message says what failed, with the value seen; the hint names the command or edit that fixes it. `exit_code` is the
process's exit status (numbers as in sysexits.h). `http_status` tells the sender of a request what to do next.

    EavesError                     exit 1   HTTP 500
    ├── ConfigError                exit 78  HTTP 500   a configuration with faults; it holds all of them
    ├── InputError                 exit 65  HTTP 400   unusable input; sending it again doesn't help
    │   ├── EventError                      HTTP 400   not a well-formed CloudEvent
    │   │   ├── UnsupportedContentError     HTTP 415   a content type or content mode that is not supported
    │   │   └── BatchTooLargeError          HTTP 413   a batch of too many events or values
    │   ├── ImageError                      HTTP 422   not an image, or a corrupt one
    │   │   └── ImageTooLargeError          HTTP 413   more bytes or pixels than allowed
    │   ├── ClaimError                      HTTP 422   a dataref that may not be fetched, or refers to nothing
    │   │   └── ClaimTooLargeError          HTTP 413   a dataref to more bytes than allowed
    │   ├── TensorError                     HTTP 422   JSON that is not a valid input tensor of a model
    │   ├── DatasetError                               no usable training data
    │   ├── LabelConflictError              HTTP 409   a photo that somebody else has labelled meanwhile
    │   └── RunError                                   a directory that is not a complete run
    ├── MalformedRequestError      exit 65  HTTP 400   a request that can't be parsed, or holds no event
    │   └── ContentEncodingError            HTTP 415   a body in a content coding that is not supported
    ├── ArtifactError              exit 65  HTTP 503   an artifact that is damaged or that this version can't serve
    │   ├── GoldenError                                a model that doesn't reproduce its recorded outputs
    │   └── LoadingError                               a model that isn't loaded yet
    ├── HandlerError               exit 70  HTTP 500   an artifact's handler.py that fails
    ├── ConversionError            exit 70  HTTP 500   a model that could not be converted
    │   └── ParityError                                a converted model whose outputs differ from the original's
    ├── RefusedModelError          exit 79             a model that is not good enough to be published
    │   └── UndecidedModelError                        a model that isn't shown to be worse, nor to be good enough
    ├── SpoolError                 exit 74  HTTP 503   a durable queue that can't be read or written
    │   ├── SpoolFullError         exit 75  HTTP 429   a durable queue that has reached its limit
    │   └── SpoolDamagedError                          a damaged queue file; readable events are moved to a new one
    ├── StorageError               exit 74  HTTP 503   files, on disk or at a URI, that can't be read or written
    ├── StoppedError               exit 75  HTTP 503   an orderly stop on request; start it again to continue
    ├── CancelledError             exit 130 HTTP 503   an end by Ctrl-C; the message says what is left
    ├── DeliveryError              exit 69  HTTP 503   no usable HTTP response
    │   ├── UnreachableError                           nothing was sent: a failed connection, proxy or TLS handshake
    │   ├── InterceptedError                           an answer of something before the receiver: a login page
    │   ├── ClaimDeniedError                           a store that refuses the function's access to a dataref
    │   └── StatusError                                an HTTP response whose status is not a success
    ├── DamagedError               exit 75  HTTP 503   data that were changed on their way
    ├── OverloadedError            exit 75  HTTP 429   more concurrent work than the bounded queue takes
    ├── ForbiddenError             exit 77  HTTP 403   a caller without access
    ├── OciError                   exit 65             a container image that can't be built, read or written
    │   ├── OciNotFoundError       exit 66             a container image that doesn't exist
    │   ├── StandardLibraryError                       a base whose standard library can't be read or compiled
    │   ├── RegistryError          exit 69             a registry that doesn't respond, or responds incorrectly
    │   │   └── AccessError        exit 77             a registry that denies access
    │   └── SignatureError         exit 77             a container image that isn't signed with this key
    └── PlatformError              exit 69  HTTP 503   a failure of the platform that runs functions
        ├── NotRunningError                            no platform responds on this machine
        ├── NotFoundError          exit 66  HTTP 404   no function, source, trigger or photo of that name
        ├── StartError                                 a function that doesn't become ready
        ├── FleetError                                 an operation that is incomplete at some of several sites
        └── ClusterError                               a cluster's API server that refuses or fails
            ├── UnreachableClusterError                no response: link down, server down, or timeout
            ├── DeniedError        exit 77             not logged in, or not allowed
            ├── InvalidError       exit 65             an object that the API server finds invalid
            ├── AbsentError        exit 66  HTTP 404   no such namespace, kind or object in the cluster
            └── ConflictError      exit 75             a conflict with another field manager or a newer version
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class EavesError(Exception):
    """Root of every error that Eaves raises on purpose.

    Args:
        message: What failed, with the value seen.
        hint: The command or edit that fixes it; None when there is nothing to add.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a configuration.

    Attributes:
        origin: Origin of the value: a file's name, an environment variable or a flag.
        path: Dotted path of the setting, `scale.max`.
        message: What is wrong, with the value seen.
    """

    origin: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.path}: {self.message}" if self.path else f"{self.origin}: {self.message}"


class ConfigError(EavesError):
    """A configuration with faults, all of which are reported at once."""

    exit_code = 78

    def __init__(self, faults: Sequence[Fault], *, hint: str | None = None) -> None:
        super().__init__("\n".join(str(fault) for fault in faults), hint=hint)
        self.faults = tuple(faults)

    @classmethod
    def single(cls, origin: str, path: str, message: str, *, hint: str | None = None) -> ConfigError:
        """Return the error for one fault, whose parts are those of `Fault`."""
        return cls([Fault(origin=origin, path=path, message=message)], hint=hint)


class InputError(EavesError):
    """Unusable input; sending it again doesn't help."""

    exit_code = 65
    http_status = 400


class MalformedRequestError(EavesError):
    """A request that can't be parsed, or holds no event at all.

    Something on the way may have damaged it, so this type of problem blames no event.
    """

    exit_code = InputError.exit_code
    http_status = 400


class ContentEncodingError(MalformedRequestError):
    """A body in a coding that is not supported; a proxy may have chosen it, so it says nothing about an event."""

    http_status = 415


class EventError(InputError):
    """Input that is not a well-formed CloudEvent."""


class UnsupportedContentError(EventError):
    """A content type or content mode that is not supported."""

    http_status = 415


class ImageError(InputError):
    """Bytes that are not an image, or a corrupt image."""

    http_status = 422


class ImageTooLargeError(ImageError):
    """An image with more bytes or pixels than allowed."""

    http_status = 413


class BatchTooLargeError(EventError):
    """A batch of more events, or of more values, than allowed."""

    http_status = 413


class ClaimError(InputError):
    """A reference to data (`dataref`) that may not be fetched, is broken, or refers to data that don't exist."""

    http_status = 422


class ClaimTooLargeError(ClaimError):
    """A reference to more bytes than allowed."""

    http_status = 413


class TensorError(InputError):
    """JSON that is not a valid input tensor of a model: another shape, or numbers that are not finite."""

    http_status = 422


class DatasetError(InputError):
    """A dataset without usable training data."""


class LabelConflictError(InputError):
    """Labels of photos to which somebody else has given other ones meanwhile; nothing was written.

    Args:
        message: How many photos, and what their labels are.
        conflicts: File of each such photo, and its `eaves.labels_file.Label` that counts now.
    """

    http_status = 409

    def __init__(self, message: str, conflicts: Mapping[str, Any]) -> None:
        super().__init__(message, hint="look at these labels, and decide again")
        self.conflicts = conflicts


class RunError(InputError):
    """A directory that is not a complete training run."""


class ArtifactError(EavesError):
    """An artifact that is damaged, or that this version of Eaves can't serve."""

    exit_code = 65
    http_status = 503


class GoldenError(ArtifactError):
    """A model that doesn't reproduce its recorded outputs on this machine."""


class LoadingError(ArtifactError):
    """A model that isn't loaded yet; a later request may succeed."""


class HandlerError(EavesError):
    """An artifact's handler.py that can't be loaded, fails, or returns an input that the graph doesn't take."""

    exit_code = 70


class ConversionError(EavesError):
    """A model that could not be converted."""

    exit_code = 70


class ParityError(ConversionError):
    """A converted model whose outputs differ from those of the trained model."""


class RefusedModelError(EavesError):
    """A model that is not shown to be good enough to be published; sysexits.h has no number for this."""

    exit_code = 79


class UndecidedModelError(RefusedModelError):
    """A model that too few images compare with an earlier one; it isn't shown to be worse."""


class SpoolError(EavesError):
    """A durable queue that can't be read or written."""

    exit_code = 74
    http_status = 503


class SpoolFullError(SpoolError):
    """A durable queue that has reached its limit; the event was not stored."""

    exit_code = 75
    http_status = 429


class SpoolDamagedError(SpoolError):
    """A durable queue whose file is damaged. The next call copies what can be read into a new file."""


class StorageError(EavesError):
    """Files that can't be read or written, on this machine's disk or at a URI."""

    exit_code = 74
    http_status = 503


class StoppedError(EavesError):
    """A stop on request; the same command continues from there."""

    exit_code = 75
    http_status = 503


class CancelledError(EavesError):
    """A command that was stopped with Ctrl-C; the message says what is left, and the command can be run again."""

    exit_code = 130
    http_status = 503


class DeliveryError(EavesError):
    """No usable HTTP response: connection refused or broken, timeout, too large, or not the store's own."""

    exit_code = 69
    http_status = 503


class UnreachableError(DeliveryError):
    """A request that was not sent, because connection, proxy or TLS failed; the wait doesn't count as an attempt."""


class InterceptedError(DeliveryError):
    """A request that something else answered than its receiver: a login page, a redirect, a device within the TLS.

    It may answer only this request so, for its content; it doesn't count as an attempt.
    """


class ClaimDeniedError(DeliveryError):
    """A store that refuses a function's access to the data of a `dataref`; a changed key or permission helps."""


class StatusError(DeliveryError):
    """An HTTP response whose status is not a success.

    Args:
        message: What was requested, and what the response was.
        status: The HTTP status.
        detail: The response's own explanation, for people.
        retry_after_s: Value of the response's Retry-After header, seconds; None without it.
    """

    def __init__(self, message: str, *, status: int, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.detail, self.retry_after_s = status, detail, retry_after_s


class DamagedError(EavesError):
    """Data that were changed on their way, since their digest differs from `datadigest`; sending them again helps."""

    exit_code = 75
    http_status = 503


class OverloadedError(EavesError):
    """More concurrent work than the bounded queue takes; try again later."""

    exit_code = 75
    http_status = 429


class ForbiddenError(EavesError):
    """A caller that isn't allowed to do what it requests."""

    exit_code = 77
    http_status = 403


class OciError(EavesError):
    """A container image that can't be built, read or written."""

    exit_code = 65


class OciNotFoundError(OciError):
    """A container image, or a part of one, that doesn't exist."""

    exit_code = 66


class StandardLibraryError(OciError):
    """A base whose standard library can't be found, read or compiled."""


class RegistryError(OciError):
    """A registry that can't be reached, fails, or responds incorrectly."""

    exit_code = 69


class AccessError(RegistryError):
    """A registry that denies access, or denies this operation."""

    exit_code = 77


class SignatureError(OciError):
    """A container image that isn't signed with this key, or was changed after signing."""

    exit_code = 77


class PlatformError(EavesError):
    """A failure of the platform that runs functions."""

    exit_code = 69
    http_status = 503


class NotRunningError(PlatformError):
    """No platform responds on this machine."""


class NotFoundError(PlatformError):
    """No function, source, trigger or photo with that name."""

    exit_code = 66
    http_status = 404


class StartError(PlatformError):
    """A function that doesn't become ready."""


class FleetError(PlatformError):
    """An operation that is incomplete at some of several sites."""


class ClusterError(PlatformError):
    """A cluster's API server that refuses or fails."""


class UnreachableClusterError(ClusterError):
    """A cluster's API server that doesn't respond: the link is down, the server is down, or the request timed out."""


class DeniedError(ClusterError):
    """A cluster that the user is not logged in to, or is not allowed to do this in."""

    exit_code = 77


class InvalidError(ClusterError):
    """An object that a cluster's API server or one of its webhooks refuses; sending it again doesn't help."""

    exit_code = 65


class AbsentError(ClusterError):
    """A namespace, a kind of object or an object that a cluster doesn't have."""

    exit_code = 66
    http_status = 404


class ConflictError(ClusterError):
    """A conflict: fields that another manager owns, or an object that changed since it was read.

    Args:
        message: Description of the conflict.
        hint: How to resolve it.
        causes: (manager, field) of each conflict over fields; empty for other conflicts.
    """

    exit_code = 75

    def __init__(self, message: str, *, hint: str | None = None, causes: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, hint=hint)
        self.causes = tuple(causes)
