"""Command that answers one request to the queue of the process in this container: `python -P -m eaves.sources.queue`.

`eaves queue --on knative` runs it in the pods by `kubectl exec`, and a person can run it there, too. It asks the
running process over its Unix socket, and opens the spool itself when none runs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from eaves.admin.client import open_queue
from eaves.admin.queue import answer_request
from eaves.admin.server import default_socket
from eaves.config import iter_leaves
from eaves.errors import EavesError
from eaves.options import report_errors
from eaves.problem_document import build_problem, error_type
from eaves.sources.settings import LANES, AgentSettings
from eaves.spool import lease_path


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("request", default='{"do": "status"}')
def main(request: str) -> None:
    """Print the answer to REQUEST as JSON.

    \b
    {"do": "status"}                                     the report of every lane, of the sources and of the link
    {"do": "list", "state": "dead", "limit": 10}         entries; also: lane, source, reason, older_than_s, after
    {"do": "show", "seqs": [7]}                          one entry with its data as base64
    {"do": "retry", "reason": "answered 422"}            queue dead letters again, make waiting entries due now
    {"do": "drop", "all": true, "dry_run": true}         delete dead letters, or only count them
    {"do": "purge", "lane": "replies"}                   delete entries in any state
    {"do": "ledger", "after": 100, "limit": 1000}        what became of each event; a relay has a ledger
    """  # noqa: D301 - click's mark of a paragraph that keeps its lines
    given = {leaf.path: os.environ.get(leaf.env) or leaf.default for leaf in iter_leaves(AgentSettings)}
    spool = Path(given["spool"])
    socket = Path(given["admin_socket"] or default_socket(spool))
    try:
        with open_queue(spool, socket, [lease_path(spool, lane) for lane in LANES]) as queue:
            click.echo(json.dumps(answer_request(queue, request)))
    except EavesError as error:
        kind = error_type(type(error))
        click.echo(build_problem(error.http_status, error.message, error.hint, kind=kind))
        raise


if __name__ == "__main__":
    report_errors(main)
