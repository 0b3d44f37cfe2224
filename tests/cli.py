"""The `eaves` command of tests, in this process or as one of its own."""

import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess

from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.errors import EavesError
from eaves.options import print_error

EAVES = (sys.executable, "-P", "-m", "eaves.cli")
"""The command as a process."""


def eaves(*words: str | Path, **environ: str) -> Result:
    """Run the command in this process; an error of ours is the result's exception."""
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="eaves", env=environ)


def run_eaves(*words: str | Path, code: int | None = 0, text: str = "") -> CompletedProcess[str]:
    """Run the command in this process as a person sees it: exit code, output, errors; None accepts any exit code."""
    result = CliRunner().invoke(cli, [str(word) for word in words], input=text, prog_name="eaves")
    found, reported = result.exit_code, StringIO()
    if isinstance(result.exception, EavesError):
        with redirect_stderr(reported):
            print_error(result.exception)
        found = result.exception.exit_code
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    done = CompletedProcess(words, found, result.stdout, result.stderr + reported.getvalue())
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done
