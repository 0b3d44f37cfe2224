"""The meaning of an answer of a store that isn't a success.

Source: Amazon S3 API Reference, Error responses.
"""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

from eaves.bucket.aws_client import Answer
from eaves.bucket.location import BucketLocation
from eaves.bucket.strict_xml import parse_xml
from eaves.errors import ConfigError, EavesError, Fault, ForbiddenError, NotFoundError, StatusError

_REFUSED = {
    "InvalidAccessKeyId": "the store doesn't know the access key",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidToken": "the session token is wrong",
    "InvalidSecurity": "the access key is not valid",
    "ExpiredToken": "the session token has expired",
    "TokenRefreshRequired": "the session token has expired",
    "AccountProblem": "the account of the access key can't be used",
}
_OTHER_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")
_REGION = re.compile(r"[A-Za-z0-9-]{1,40}")


def explain_refusal(answer: Answer, location: BucketLocation, *, what: str, now: float) -> EavesError:
    """Return the error for an answer that isn't a success; the same refusal gives the same text each time.

    Args:
        answer: Answer of the store.
        location: Bucket that was asked for.
        what: What was requested, such as `the object gate/1.jpg`; shown when it doesn't exist.
        now: Wall-clock time of this machine, Unix seconds.
    """
    code, region = _read_error(answer)
    if code == "NoSuchBucket":
        return NotFoundError(f"the {location.shown} does not exist", hint="check the bucket's name and the endpoint")
    if answer.status == 404:
        return NotFoundError(f"{what} does not exist in the {location.shown}")
    if answer.status == 412:
        return NotFoundError(f"{what} was replaced in the {location.shown}")
    if code == "InvalidObjectState":
        return NotFoundError(f"{what} is in an archive of the {location.shown}")
    if code in _OTHER_REGION or answer.status in {301, 307, 308}:
        other = f" {region}" if region and region != location.region else ""
        hint = f"set the region to{other or ' that of the bucket'}"
        return _fault(location, f"it is in another region{other}, not in {location.region}", hint)
    if answer.status in {401, 403} or code in _REFUSED:
        return _explain_denial(answer, location, what=what, code=code, now=now)
    return StatusError(
        f"the {location.shown} answers with status {answer.status}{f' ({code})' if code else ''}",
        status=answer.status,
        detail=code,
    )


def _explain_denial(answer: Answer, location: BucketLocation, *, what: str, code: str, now: float) -> EavesError:
    if code == "RequestTimeTooSkewed":
        message = f"this machine's clock differs from the store's by {_skew(answer, now)}"
        return _fault(location, message, "set this machine's clock, for example with NTP")
    if code in _REFUSED:
        return _fault(location, f"{_REFUSED[code]} ({code})", "check the files of the credentials")
    return ForbiddenError(
        f"the {location.shown} refuses access to {what} ({code or answer.status})",
        hint="check the access key, and whether its policy allows listing, reading or writing",
    )


def _fault(location: BucketLocation, message: str, hint: str) -> ConfigError:
    return ConfigError([Fault(origin=location.shown, path="", message=message)], hint=hint)


def _read_error(answer: Answer) -> tuple[str, str]:
    """Return code and region in the answer; empty where it names none, as an answer to HEAD has no body."""
    region = answer.headers.get("x-amz-bucket-region", "")
    code = ""
    try:
        root = parse_xml(answer.body)
        code = root.findtext("{*}Code", root.findtext("{*}Error/{*}Code", "")).strip()
        region = region or root.findtext("{*}Region", "").strip()
    except ValueError:
        pass
    return (code if _CODE.fullmatch(code) else ""), (region if _REGION.fullmatch(region) else "")


def _skew(answer: Answer, now: float) -> str:
    """Return by how much the clocks differ, roughly, so that the text doesn't change at each attempt."""
    try:
        moment: datetime = parsedate_to_datetime(answer.headers.get("date", ""))
        minutes = abs(now - moment.timestamp()) / 60
    except (ValueError, TypeError, OverflowError):
        return "more than 15 minutes"
    if minutes < 120:
        return f"about {round(minutes / 10) * 10} minutes"
    return f"about {round(minutes / 60)} hours" if minutes < 48 * 60 else f"about {round(minutes / 1440)} days"
