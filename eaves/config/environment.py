"""Checks for the EAVES_ environment variables of a process: misspelt names.

A variable that nothing reads has no effect, so a misspelt one must be reported. Variables of other Eaves processes are
not a fault, because several processes may share one environment. Every pod that Eaves renders has `enableServiceLinks:
false`, so that Kubernetes adds no variables for a Service whose name begins with `eaves-`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from eaves.config.declarations import ENV_PREFIX, SettingsLeaf

OTHERS = (f"{ENV_PREFIX}_E2E_", f"{ENV_PREFIX}_BENCH_", f"{ENV_PREFIX}_WRITE_GOLDEN")
"""Prefixes of the environment variables that the repository's tests and benchmarks read."""
MOST = 20
"""Maximum number of reported variables. Finding the nearest name takes milliseconds, which delay a function's start."""


def find_variable_warnings(environ: Mapping[str, str], leaves: Collection[SettingsLeaf] = ()) -> list[str]:
    """Return a sentence for each variable that nothing reads, `MOST` of them at most.

    Args:
        environ: The process's environment.
        leaves: The settings that the process reads from its environment; empty: all of Eaves, as for the command line.
    """
    ours = sorted(name for name in environ if name.startswith(f"{ENV_PREFIX}_"))
    read = {leaf.env for leaf in leaves}
    if read.issuperset(ours):
        return []  # the usual case, in which a cold start builds no table
    from eaves.config.variables import FILE_ONLY, NAMES

    known = NAMES.union(read)
    wrong = [name for name in ours if name not in known and not name.startswith(OTHERS)]
    found = []
    for name in wrong[:MOST]:
        if name in FILE_ONLY:
            found.append(f"{name} is not read: a list of sections can be set in eaves.yaml only")
        else:
            found.append(f"{name} is not read by any part of Eaves{_advise(name, read, NAMES)}")
    if left := len(wrong) - len(found):
        more = f"{left} more variables that begin with {ENV_PREFIX}_ are not read"
        found.append(f"{more}; docs/reference.md has all names")
    return found


def _advise(name: str, read: Collection[str], known: Collection[str]) -> str:
    """Return advice for an unknown variable: the most similar name that the process reads, or else of all names."""
    near = _find_nearest(name, read, cutoff=0.75) or _find_nearest(name, known, cutoff=0.65)
    return f"; did you mean {near}?" if near else "; docs/reference.md lists all variables"


def _find_nearest(name: str, names: Collection[str], *, cutoff: float) -> str:
    """Return the most similar of `names`, compared after their common prefix; empty when none is similar."""
    begin = f"{ENV_PREFIX}_"
    ends = sorted(one.removeprefix(begin) for one in names if one.startswith(begin))
    near = difflib.get_close_matches(name.removeprefix(begin), ends, n=1, cutoff=cutoff)
    return begin + near[0] if near else ""
