"""handler.py: user code that makes the graph's input from bytes and the reply from the graph's outputs.

The code comes from the artifact, so only processes that run functions load it; `eaves verify --run-handler` and a
conversion run it in a child process. It is loaded under a private module name, from exactly the bytes whose digest is
in the manifest, and writes no .pyc file.
"""

from __future__ import annotations

import hashlib
import re
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.artifact import Artifact, Predict, TensorSpec
from eaves.artifact.store import HANDLER
from eaves.errors import ArtifactError, HandlerError, InputError
from eaves.inference import json_values

Tensor = npt.NDArray[Any]
RESERVED = ("model", "version", "artifact", "timings_ms")
"""Members that the reply of every task has."""
FILTERED = ("label", "confidence")
"""Members of a reply that are also extension attributes when they are strings, because triggers filter by them."""
MAX_ATTRIBUTE = 256

_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{0,64}")
_HINT = "correct handler.py, then convert the run again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """The functions that a handler.py defines; safe to call from many threads if the user's functions are.

    Each call is checked. An InputError that the user's code raises blames the input; any other exception becomes a
    HandlerError with the user's exception as its cause.

    Attributes:
        preprocess: Makes the graph's input for one example, without the batch dimension, from the data that was sent.
        postprocess: Makes members of the reply from the graph's outputs for one example.
        content_types: Accepted media types, or their beginnings up to the slash.
    """

    preprocess: Callable[[bytes], Tensor] | None = None
    postprocess: Callable[[Mapping[str, Tensor]], Mapping[str, Any]] | None = None
    content_types: tuple[str, ...] = ()

    def accepts(self, content_type: str) -> bool:
        """Return whether `content_types` includes this type."""
        return any(
            content_type.startswith(known) if known.endswith("/") else content_type == known
            for known in self.content_types
        )

    def follow(self, predict: Predict) -> Predict:
        """Return a predictor that also runs `postprocess` on each output of `predict`.

        A check with this predictor finds faults in `postprocess` before the function serves.
        """
        own = self.postprocess
        if own is None:
            return predict

        def both(batch: Tensor) -> Mapping[str, Tensor]:
            outputs = predict(batch)
            own({name: output[0].copy() for name, output in outputs.items()})
            return outputs

        return both


def attributes(members: Mapping[str, Any]) -> dict[str, str]:
    """Return the extension attributes of a reply event: those members in `FILTERED` that are strings."""
    return {name: members[name] for name in FILTERED if isinstance(members.get(name), str)}


def load_handler(artifact: Artifact) -> Handler:
    """Load the artifact's handler, or an empty one. This runs the module, so don't call it only to verify.

    Raises:
        ArtifactError: When the file's digest is not the one in the manifest.
        HandlerError: When the module can't be loaded, or defines neither preprocess nor postprocess.
    """
    entry = artifact.manifest.files.get(HANDLER)
    if entry is None:
        return Handler()
    path = artifact.path / HANDLER
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}", hint="convert the run again") from error
    if hashlib.sha256(source).hexdigest() != entry.sha256:
        raise ArtifactError(f"{path} doesn't match its sha256 in the manifest", hint="convert the run again")
    return open_handler(source, path, artifact.manifest.input)


def open_handler(source: bytes, path: Path, spec: TensorSpec) -> Handler:
    """Run a handler's module and return its functions.

    Args:
        source: Source code of the module.
        path: Path that the source was read from, for tracebacks.
        spec: Specification of the graph's input.

    Raises:
        HandlerError: When the module can't be loaded, or defines neither preprocess nor postprocess.
    """
    module = types.ModuleType(f"eaves_handler_{hashlib.sha256(source).hexdigest()[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickling look up a class's module there
    try:
        # importlib isn't used: it would read the file again and write __pycache__ into the artifact.
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - running it is what a handler is for
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise HandlerError(f"{HANDLER} can't be loaded: {_last_line(error, path)}", hint=_HINT) from error
    before, behind = (_function(module, name) for name in ("preprocess", "postprocess"))
    if before is None and behind is None:
        found = ", ".join(name for name in vars(module) if not name.startswith("__")) or "nothing"
        raise HandlerError(
            f"{HANDLER} defines neither a function preprocess nor a function postprocess; it defines: {found[:200]}"
        )
    return Handler(
        preprocess=before and partial(_preprocess, before, path, spec),
        postprocess=behind and partial(_postprocess, behind, path),
        content_types=_content_types(module),
    )


def _call(function: Callable[[Any], Any], argument: Any, name: str, path: Path) -> Any:
    """Call a user's function, whose exceptions become HandlerErrors."""
    try:
        return function(argument)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a handler must not end the process
        if _blames_input(error):
            raise
        raise HandlerError(f"{HANDLER}: {name} failed: {_last_line(error, path)}", hint=_HINT) from error


def _preprocess(function: Callable[[Any], Any], path: Path, spec: TensorSpec, data: bytes) -> Tensor:
    made = _call(function, data, "preprocess", path)
    if not isinstance(made, np.ndarray):
        raise HandlerError(f"{HANDLER}: preprocess returned {type(made).__name__}, not a numpy array")
    tensor = made[0] if made.ndim == len(spec.shape) and made.shape[0] == 1 else made
    if not spec.fits(tensor.shape) or tensor.dtype != spec.dtype:
        raise HandlerError(
            f"{HANDLER}: preprocess returned {tensor.dtype} {tensor.shape}, but the graph "
            f"takes {spec.dtype} {spec.shape[1:]}",
            hint="return one example with the shape and type that `input` has in manifest.json",
        )
    return tensor


def _postprocess(function: Callable[[Any], Any], path: Path, outputs: Mapping[str, Tensor]) -> Mapping[str, Any]:
    made = _call(function, outputs, "postprocess", path)
    if not isinstance(made, Mapping):
        raise HandlerError(f"{HANDLER}: postprocess returned {type(made).__name__}, not a mapping", hint=_HINT)
    try:
        members: dict[str, Any] = json_values.plain(made)
    except Exception as error:  # values of the user's own types may raise any exception
        raise HandlerError(f"{HANDLER}: postprocess returned {str(error)[:200]}", hint=_HINT) from error
    for name in RESERVED:
        if name in members:
            raise HandlerError(
                f"{HANDLER}: postprocess returned {name!r}, a name that every reply already has",
                hint=f"choose another name; reserved names: {', '.join(RESERVED)}",
            )
    for name, text in attributes(members).items():
        if not (0 < len(text) <= MAX_ATTRIBUTE and text.isprintable()):
            raise HandlerError(
                f"{HANDLER}: postprocess returned the {name} {text[:40]!r}, which can't be an attribute of an event",
                hint=f"return a string of 1 to {MAX_ATTRIBUTE} printable characters",
            )
    return members


def _function(module: types.ModuleType, name: str) -> Callable[[Any], Any] | None:
    found = getattr(module, name, None)
    if found is not None and not callable(found):
        raise HandlerError(f"{HANDLER}: {name} is a {type(found).__name__}, not a function", hint=_HINT)
    return found


def _content_types(module: types.ModuleType) -> tuple[str, ...]:
    found = getattr(module, "content_types", ())
    good = isinstance(found, list | tuple) and all(isinstance(one, str) and _MEDIA_TYPE.fullmatch(one) for one in found)
    if not good:
        raise HandlerError(
            f"{HANDLER}: content_types is {found!r:.80}, not a tuple of media types in lower case",
            hint='for example: content_types = ("image/", "application/x-scan")',
        )
    return tuple(found)


def _blames_input(error: BaseException) -> bool:
    """Return whether an exception blames the input, so that its message may be shown to the sender.

    A class of the user's that is derived from InputError may have any status or message.
    """
    return (
        isinstance(error, InputError)
        and 400 <= error.http_status < 500
        and isinstance(getattr(error, "message", None), str)
        and isinstance(getattr(error, "hint", None), str | None)
    )


def _last_line(error: BaseException, path: Path) -> str:
    """Return the last line of the traceback, and the handler's line number that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    place = f" (line {lines[-1]})" if lines else ""
    return traceback.format_exception_only(error)[-1].strip()[:256] + place
