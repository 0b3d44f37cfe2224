"""Runs a script as a reader types it: one bash, one fresh folder, further terminals where the page says so."""

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks.block import Block
from tests.docs.blocks.pages import ROOT
from tests.docs.blocks.printed import find_unprinted
from tests.docs.blocks.script import Script
from tests.waiting import wait_until

UNREAD = re.compile(r"'[^']*'|(?<=\s)#.*")
"""Quotations and comments, in which bash reads no operators."""
MERGE = Path(__file__).with_name("merge.py")
ASSIGNMENT = re.compile(r"(?:export )?([A-Za-z_][A-Za-z0-9_]*)=.*")
HEAD = """set -euo pipefail
wait_for_terminal() {  # OUTPUT PATTERN PID
    for _ in $(seq 1200); do
        if grep -Eqs -- "$2" "$1"; then return; fi
        if ! kill -0 "$3" 2>/dev/null && ! grep -Eqs -- "$2" "$1"; then
            echo "the terminal ended before it printed $2"; cat "$1"; return 1
        fi
        sleep 0.05
    done
    echo "the terminal did not print $2 within 60 s"; cat "$1"; return 1
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What a script printed.

    Attributes:
        outputs: Standard output and standard error of each block of commands, by its place, such as `docs/01.md:12`.
    """

    outputs: Mapping[str, str]

    @property
    def text(self) -> str:
        """All of it, each block under its place."""
        return "".join(f"--- {place}\n{output}" for place, output in self.outputs.items())


def find_missing(script: Script) -> list[str]:
    """What the script needs and this machine doesn't have."""
    return [name for name in script.needs if not _is_there(name)]


def _is_there(need: str) -> bool:
    if need == "root":
        return os.geteuid() == 0
    if need.startswith("shared/"):
        return (ROOT.parent / need).exists()
    if need.startswith("python-"):
        return importlib.util.find_spec(need.removeprefix("python-")) is not None
    found = shutil.which(need) is not None
    if need == "ctr":  # which containerd brings along, running or not
        return (
            found
            and subprocess.run([need, "--timeout", "2s", "version"], capture_output=True, check=False).returncode == 0
        )
    return found


def build_environ(home: Path, **more: str) -> dict[str, str]:
    """The environment of a reader who has just activated the virtual environment.

    Args:
        home: The reader's home directory, so that no settings or downloads of this machine take part.
        more: Further variables.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EAVES_", "PYTEST_", "KERAS_"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ours = {"PATH": path, "HOME": str(home), "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    return {**kept, **ours, **more}


def run_script(
    script: Script,
    folder: Path,
    *,
    environ: Mapping[str, str],
    values: Mapping[str, str] | None = None,
    before: Sequence[Block] = (),
    timeout_s: float = 240,
) -> Transcript:
    """Run a script's blocks in order; end whatever it started.

    Args:
        script: What to run.
        folder: The reader's folder: empty, or with what `after` prepared.
        environ: See `build_environ`.
        values: Variables that blocks marked `values` set, with this machine's values.
        before: Blocks that are run before, where `after` asks for them.
        timeout_s: Seconds that all blocks may take together.

    Raises:
        AssertionError: When a block fails, or doesn't print what its page says; with what all blocks printed.
    """
    work = folder.parent / f"{folder.name}.blocks"
    work.mkdir(parents=True)
    blocks = [*before, *script.blocks]
    main = work / "script.sh"
    ended = work / "ended"
    rendered = "".join(_render(block, n, work, values or {}) for n, block in enumerate(blocks))
    main.write_text(f"{HEAD}{rendered}: >{shlex.quote(str(ended))}\n")
    with (work / "shell").open("wb") as shell:
        process = subprocess.Popen(
            ["bash", str(main)],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=shell,
            stderr=shell,
            start_new_session=True,
        )
        code: int | None = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout_s)
        finally:
            _end_group(process)
    outputs = {
        str(block): (work / f"{n}.out").read_text(errors="replace")
        for n, block in enumerate(blocks)
        if (work / f"{n}.out").exists()
    }
    transcript = Transcript(outputs=outputs)
    why = f"took longer than {timeout_s:g} s" if code is None else f"ended with {code}"
    reached = (work / "reached").read_text().strip() if (work / "reached").exists() else script.page
    shown = f"{(work / 'shell').read_text(errors='replace')}{transcript.text}"[-12_000:]
    assert code == 0, f"{reached}: {why}\n{shown}"
    assert ended.exists(), f"{reached}: ended before its last command\n{shown}"
    _check_printed(script, transcript)
    return transcript


def _render(block: Block, number: int, work: Path, values: Mapping[str, str]) -> str:
    """The lines of the main script for one block."""
    if not block.is_command:
        if not {"file", "merge"} & set(block.marks):
            return ""
        kept = work / f"{number}.{block.language}"
        kept.write_text(block.text)
        if "merge" in block.marks:
            words = [sys.executable, str(MERGE), block.marks["merge"], str(kept)]
            return f"{shlex.join(words)}\n"
        target = shlex.quote(block.marks["file"])
        return f'mkdir -p "$(dirname {target})"\ncp {shlex.quote(str(kept))} {target}\n'
    output = shlex.quote(str(work / f"{number}.out"))
    head = f"printf %s {shlex.quote(str(block))} >{shlex.quote(str(work / 'reached'))}\nexec >{output} 2>&1\n"
    assert " && " not in UNREAD.sub("", block.commands), f"{block}: bash ignores a failure before `&&`"
    commands = block.commands + _replaced(block, values)
    if "terminal" in block.marks:
        other = work / f"{number}.sh"
        other.write_text(commands)
        pattern = shlex.quote(block.marks["terminal"] or ".")
        return f"{head}bash -euo pipefail {shlex.quote(str(other))} &\nwait_for_terminal {output} {pattern} $!\n"
    if "fails" in block.marks:
        failed = f"[ $code = {int(block.marks['fails'])} ]"
        return (
            f"{head}set +e\n(set -e\n{commands}\n)\ncode=$?\nset -e\n{failed} || {{ echo exit code $code; exit 1; }}\n"
        )
    return f"{head}{commands}\n"


def _replaced(block: Block, values: Mapping[str, str]) -> str:
    """Assignments that follow a block marked `values`; nothing for others."""
    if "values" not in block.marks:
        return ""
    names = []
    for line in block.text.splitlines():
        found = ASSIGNMENT.fullmatch(line)
        assert found is not None, f"{block}: a block marked `values` only sets variables (got {line!r})"
        names.append(found[1])
    return "".join(f"{name}={shlex.quote(values[name])}\n" for name in names if name in values)


def _check_printed(script: Script, transcript: Transcript) -> None:
    output = ""
    for block in script.blocks:
        if block.is_command:
            output = transcript.outputs[str(block)]
        elif "printed" in block.marks:
            missing = find_unprinted(block.text, output)
            assert missing is None, f"{block}: this line is not printed now: {missing!r}\n{output}"


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the shell and all that it left in its process group, first politely."""
    for number, patience_s in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        with suppress(AssertionError):
            wait_until(lambda: _is_gone(process), patience_s, what="the script's processes to end")
            break
    process.wait()


def _is_gone(process: subprocess.Popen[bytes]) -> bool:
    """Whether nothing of the group runs; a zombie, which only its parent can take away, doesn't."""
    process.poll()
    return not any(running_group(status) == process.pid for status in Path("/proc").glob("[0-9]*/stat"))


def running_group(status: Path) -> int | None:
    """The process group of a process that runs; None of a zombie and of one that is gone.

    Source: proc(5), /proc/PID/stat: after the name in brackets, the state, the parent and the process group.
    """
    try:
        state, _, group, *_ = status.read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in {"Z", "X"} else int(group)
