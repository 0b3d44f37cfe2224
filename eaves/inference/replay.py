"""Replay of every golden case in a child process, which runs the foreign graph, and handler.py when requested."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from eaves.artifact import Artifact, GoldenResult, load_golden, open_artifact, replay
from eaves.errors import ArtifactError, EavesError, HandlerError
from eaves.inference.child_process import ChildFault, run_child, run_child_main
from eaves.inference.handler import Handler, load_handler
from eaves.inference.session import open_session

TIMEOUT_S = 600.0
"""Time limit for all cases together, seconds; a graph or a handler that hangs must not hang its caller."""

_FIELDS = {field.name: {"str": str, "float": float}[str(field.type)] for field in fields(GoldenResult)}


def replay_all(artifact: Artifact, *, run_handler: bool = False) -> Iterator[GoldenResult]:
    """Replay every golden case in the current process.

    Args:
        artifact: Opened artifact.
        run_handler: Whether handler.py makes the inputs and processes the outputs; otherwise the recipe makes the
            inputs, or they are the stored tensors.

    Raises:
        ArtifactError: When there are no golden cases, or onnxruntime refuses the graph.
        HandlerError: When the handler fails.
    """
    handler = load_handler(artifact) if run_handler else Handler()
    session = open_session(artifact)
    for case in load_golden(artifact):
        yield replay(artifact, handler.follow(session.attempt), case, prepare=handler.preprocess)


def replay_in_child(
    artifact: Artifact,
    *,
    run_handler: bool = False,
    on_case: Callable[[int], object] = lambda count: None,
    timeout_s: float = TIMEOUT_S,
    prepared: Path | None = None,
    on_unprepared: Callable[[str], object] = lambda reason: None,
) -> tuple[GoldenResult, ...]:
    """Run `replay_all` in a child process.

    Args:
        artifact: Opened artifact.
        run_handler: Whether handler.py is run, see `replay_all`.
        on_case: Called with the number of cases that were replayed since the last call.
        timeout_s: Time limit for all cases, seconds.
        prepared: Folder in which the child then prepares the graph for this machine, see
            `eaves.inference.graph_preparation`; None means that it isn't prepared.
        on_unprepared: Called with the reason if the graph can't be prepared, or gives other outputs then. No graph is
            stored, and functions open the artifact's own.

    Raises:
        HandlerError: When the handler is run and fails, ends the process or exceeds the time limit.
        ArtifactError: When the handler isn't run and the child process crashes or exceeds the time limit, or for the
            reasons of `replay_all`.
        EavesError: When the child raised another error of Eaves.
    """
    expected = [case.file for case in load_golden(artifact)]
    if not expected:
        raise ArtifactError(f"{artifact.path} has no golden images", hint="convert the run again")
    job = {"artifact": str(artifact.path.absolute()), "run_handler": run_handler}
    if prepared is not None:
        job["prepared"] = str(prepared)
    results: list[GoldenResult] = []
    try:
        found = run_child(
            "eaves.inference.replay",
            job,
            results=len(expected) + (prepared is not None),
            timeout_s=timeout_s,
            keep_words=False,
            on_result=on_case,
        )
        if prepared is not None and (reason := found.pop()["unprepared"]):
            on_unprepared(str(reason))
        for values in found:  # handler.py may have written them
            checked: dict[str, Any] = {name: kind(values[name]) for name, kind in _FIELDS.items()}
            results.append(GoldenResult(**checked))
        done, code = len(results), 0
    except ChildFault as fault:
        if fault.late:
            raise _fault(artifact, f"took longer than {timeout_s:g} s", run_handler=run_handler) from fault
        done, code = fault.results, fault.code
    except (ValueError, TypeError, KeyError):
        done, code = 0, 0
    if [result.file for result in results] != expected:
        what = f"ended the process that replays the golden images after {done} of {len(expected)}"
        raise _fault(artifact, f"{what} (exit {code})", run_handler=run_handler)
    return tuple(results)


def _fault(artifact: Artifact, what: str, *, run_handler: bool) -> EavesError:
    if run_handler:
        return HandlerError(f"handler.py {what}", hint="correct handler.py, then convert the run again")
    return ArtifactError(f"{artifact.path}: the graph {what}", hint="convert the run again")


def _work(job: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    run_handler = bool(job["run_handler"])
    artifact = open_artifact(Path(job["artifact"]), level="full" if run_handler else "structure")
    for result in replay_all(artifact, run_handler=run_handler):
        yield asdict(result)
    if "prepared" in job:
        from eaves.inference.graph_preparation import prepare_graph

        try:
            prepare_graph(artifact, Path(job["prepared"]))
        except (EavesError, OSError) as error:
            yield {"unprepared": f"the graph can't be prepared for this machine: {error!s:.300}"}
        else:
            yield {"unprepared": ""}


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    run_child_main(_work)
