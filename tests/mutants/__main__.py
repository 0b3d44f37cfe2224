"""Make each mutant in a copy of the project, run its tests, and say whether they notice it.

    python -m tests.mutants [NAME ...]

The exit code is 0 when every mutant is killed, which means that one of its tests fails.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.mutants import ROOT, TABLE, Mutant, load_mutants

KILLED, SURVIVED, STALE, FAULTY = "killed", "survived", "stale", "faulty"
"""Outcomes: a test failed; none failed; the pattern doesn't occur exactly once; the tests fail without the mutant, or
can't be run with it."""
STOP_S = 60.0
"""Time that pytest gets after Ctrl-C to end what its tests started, seconds."""


class Copy:
    """A copy of the project's files, those that Git ignores left out.

    Args:
        folder: Empty folder; temporary files of the tests go there too.
    """

    def __init__(self, folder: Path) -> None:
        self._root, self._temporary = folder / "project", folder / "t"
        self._temporary.mkdir()
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in set(filter(None, listed.split("\0"))):
            if (ROOT / name).is_file():
                target = self._root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target, follow_symlinks=False)

    def read(self, file: str) -> str:
        """Return the text of a file; empty when there is none."""
        path = self._root / file
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def write(self, file: str, text: str) -> None:
        """Replace the text of a file; what Python compiled of it before is not used again."""
        path = self._root / file
        path.write_text(text, encoding="utf-8")
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def run(self, tests: Iterable[str]) -> tuple[int, str]:
        """Run tests until one fails; return pytest's exit code and output."""
        environ = {**os.environ, "PYTHONPATH": str(self._root), "TMPDIR": str(self._temporary)}
        options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", f"--basetemp={self._temporary / 'p'}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=self._root,
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C reaches this process only, which passes it on once
        )
        try:
            output = process.communicate()[0]
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=STOP_S)
            finally:
                process.kill()
            raise
        return process.returncode, output


def try_mutant(copy: Copy, mutant: Mutant) -> tuple[str, str]:
    """Return the outcome of a mutant, and the test that failed or pytest's last line."""
    text = copy.read(mutant.file)
    changed = mutant.apply(text)
    if changed is None:
        return STALE, f"its pattern occurs {text.count(mutant.pattern)} times in {mutant.file}"
    copy.write(mutant.file, changed)
    try:
        code, output = copy.run(mutant.tests)
    finally:
        copy.write(mutant.file, text)
    lines = output.splitlines() or [""]
    failed = [line.partition(" ")[2].partition(" - ")[0] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return {0: SURVIVED, 1: KILLED}.get(code, FAULTY), (failed or lines[-1:])[0]


def summarize(outcomes: Mapping[str, str]) -> tuple[str, int]:
    """Return the summary of the mutants' outcomes by name, and the exit code."""
    lines = []
    for outcome in (KILLED, SURVIVED, STALE, FAULTY):
        names = [name for name, found in outcomes.items() if found == outcome]
        lines.append(f"{len(names)} {outcome}{': ' + ', '.join(names) if names and outcome != KILLED else ''}")
    return "\n".join(lines), 0 if set(outcomes.values()) == {KILLED} else 1


def run_mutants(mutants: Sequence[Mutant]) -> int:
    """Try mutants one after the other, print the outcomes, and return the exit code."""
    outcomes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="eaves-mutants-", ignore_cleanup_errors=True) as folder:
        copy = Copy(Path(folder))
        print("the tests are run without any mutant first", flush=True)
        code, output = copy.run(sorted({test for mutant in mutants for test in mutant.tests}))
        if code:
            print(f"{output}\nerror: the tests fail without any mutant")
            return 1
        for mutant in mutants:
            began = time.monotonic()
            outcomes[mutant.name], why = try_mutant(copy, mutant)
            took_s = time.monotonic() - began
            print(f"{outcomes[mutant.name]:8}  {mutant.name:34}  {took_s:5.1f} s  {why}", flush=True)
    text, code = summarize(outcomes)
    print(text)
    return code


def main() -> int:
    """Try the mutants that the arguments name, or all of them."""
    listed = {mutant.name: mutant for mutant in load_mutants()}
    if unknown := [name for name in sys.argv[1:] if name not in listed]:
        print(f"error: there is no mutant {', '.join(unknown)}\ntry: one of {TABLE.relative_to(ROOT)}")
        return 2
    try:
        return run_mutants([listed[name] for name in sys.argv[1:] or listed])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
