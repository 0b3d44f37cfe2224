"""handler.py: the user's own way from bytes to the graph's input, loaded only by processes that run functions.

It is code from the artifact, so no command imports it: `eaves verify --run-handler` runs it in a child process. It is
loaded under a private module name, from exactly the bytes that the manifest's digest is of, and leaves no .pyc behind.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.artifact import Artifact, TensorSpec
from eaves.artifact.tree import HANDLER
from eaves.errors import ArtifactError, HandlerError, InputError

Tensor = npt.NDArray[Any]


class Handler:
    """A loaded handler; safe to call from many threads if the user's functions are.

    Args:
        preprocess: The user's function, bytes to the graph's input for one example.
        spec: The graph's input.
        path: Where it was loaded from.
    """

    def __init__(self, preprocess: Callable[[bytes], Tensor], spec: TensorSpec, path: Path) -> None:
        self._preprocess = preprocess
        self._path = path
        self._spec = spec

    def preprocess(self, data: bytes) -> Tensor:
        """The graph's input for one example.

        Args:
            data: What was sent.

        Returns:
            tensor: One example in the graph's shape and dtype, without the batch dimension.

        Raises:
            InputError: As the handler raises it: what was sent is to blame.
            HandlerError: When it fails in any other way, or returns what the graph doesn't take.
        """
        try:
            made = self._preprocess(data)
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            raise HandlerError(
                f"{HANDLER}: preprocess failed: {_last_line(error, self._path)}", hint="mend handler.py"
            ) from error
        return self._checked(made)

    def _checked(self, made: Any) -> Tensor:
        if not isinstance(made, np.ndarray):
            raise HandlerError(f"{HANDLER}: preprocess returned {type(made).__name__}, not a numpy array")
        tensor = made[0] if made.ndim == len(self._spec.shape) and made.shape[0] == 1 else made
        if not self._spec.fits(tensor.shape) or tensor.dtype != self._spec.dtype:
            raise HandlerError(
                f"{HANDLER}: preprocess returned {tensor.dtype} {tensor.shape}, the graph takes "
                f"{self._spec.dtype} {self._spec.shape[1:]}",
                hint="return one example as the manifest's `input` says",
            )
        return tensor


def load_handler(artifact: Artifact) -> Handler | None:
    """The artifact's handler; None when it has none. Runs the module: never call it where verifying only.

    Raises:
        ArtifactError: When the file isn't the one the manifest lists.
        HandlerError: When it can't be loaded or defines nothing known.
    """
    entry = artifact.manifest.files.get(HANDLER)
    if entry is None:
        return None
    path = artifact.path / HANDLER
    source = _read(path)
    if hashlib.sha256(source).hexdigest() != entry.sha256:
        raise ArtifactError(f"{path} doesn't match its sha256 in the manifest", hint="convert the run again")
    module = types.ModuleType(f"eaves_handler_{artifact.digest[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickling look a class's module up there
    try:
        # Not by importlib: it would read the file again and write __pycache__ into the artifact.
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - running it is what a handler is for
    except (Exception, SystemExit) as error:
        raise HandlerError(f"{HANDLER} can't be loaded: {_last_line(error, path)}", hint="mend handler.py") from error
    preprocess = getattr(module, "preprocess", None)
    if not callable(preprocess):
        found = ", ".join(name for name in vars(module) if not name.startswith("__")) or "nothing"
        raise HandlerError(f"{HANDLER} defines no function preprocess; found: {found[:200]}")
    return Handler(preprocess, artifact.manifest.input, path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}", hint="convert the run again") from error


def _last_line(error: BaseException, path: Path) -> str:
    """The last line of the traceback, and the line of the handler that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    place = f" (line {lines[-1]})" if lines else ""
    return traceback.format_exception_only(error)[-1].strip()[:256] + place
