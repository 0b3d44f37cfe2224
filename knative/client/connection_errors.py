"""Errors for requests that got no answer: exceptions of urllib3 become errors of Eaves.

Answers of a server that isn't an API server, such as a login page, become errors here too.

Source: the exceptions that urllib3 2 raises without retries.
"""

from __future__ import annotations

import re

from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from eaves.delivery.response_rules import shorten
from eaves.errors import ClusterError, UnreachableClusterError
from knative.client.api_errors import ApiCall


class BrokenConnectionError(UnreachableClusterError):
    """An open connection broke; it isn't known whether the server carried out the request."""


def build_unreachable_error(error: Exception, call: ApiCall, limit_s: float) -> UnreachableClusterError:
    """Build the error for an exception of urllib3 or of a socket.

    Args:
        error: The exception.
        call: Description of the request.
        limit_s: Time limit of the request in seconds.
    """
    if isinstance(error, ProtocolError | ConnectionError) and not isinstance(error, NewConnectionError):
        return build_broken_error(error, call)
    what = f"can't connect to {call.server}: {_reason(error)}"
    ready = call.kubectl("get --raw /readyz")
    hint = f"check the network, and try again when this command answers ok: {ready}"
    if isinstance(error, NameResolutionError):
        what = f"the name of {call.server} can't be resolved"
    elif isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        what = f"can't connect to {call.server}: the connection timed out"
    elif isinstance(error, ReadTimeoutError | TimeoutError):
        what = f"{call.server} did not answer within {limit_s:.3g} s"
    elif isinstance(error, SSLError):
        what = f"the certificate of {call.server} can't be verified: {_reason(error)}"
        hint = (
            "check the clock of this machine and the certificate authority in the kubeconfig: "
            f"{call.kubectl('config view --minify')}"
        )
    return UnreachableClusterError(f"{call.where}: {what}", hint=hint)


def build_broken_error(error: Exception, call: ApiCall) -> BrokenConnectionError:
    """Build the error for a connection that broke during a request."""
    return BrokenConnectionError(
        f"{call.where}: the connection to {call.server} broke: {_reason(error)}",
        hint=f"try again when this command answers ok: {call.kubectl('get --raw /readyz')}",
    )


def build_foreign_error(body: bytes, call: ApiCall) -> ClusterError:
    """Build the error for a successful answer that isn't from an API server, such as the page of a login proxy."""
    answer_text = shorten(body[:400].decode("utf-8", "replace"), 100)
    return ClusterError(
        f"{call.where}: {call.server} is not an API server: it answered {answer_text}",
        hint=f"check the server's address in the kubeconfig: {call.kubectl('config view --minify')}",
    )


def _reason(error: Exception) -> str:
    """Return the reason from the text of a urllib3 exception, without the Python objects in that text."""
    text = str(error.original_error if isinstance(error, ProxyError) else error)
    return shorten(re.sub(r"<[^>]*>:? ?|\w+\(host=[^)]*\): ?", "", text), 200)
