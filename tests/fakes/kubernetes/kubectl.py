"""A program called kubectl that runs what is to be run in a pod here, with that pod's environment."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

_PROGRAM = """\
#!{python}
import json, os, subprocess, sys
own, command = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
folder = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(folder, "calls.jsonl"), "a") as calls:
    calls.write(json.dumps({{"own": own, "command": command, "kubeconfig": os.environ.get("KUBECONFIG", "")}}) + "\\n")
pods = json.load(open(os.path.join(folder, "pods.json")))
pod = own[own.index("exec") + 1]
if pod not in pods:
    sys.exit('Error from server (Forbidden): pods "' + pod + '" is forbidden: User "jane" cannot create resource '
             '"pods/exec" in API group "" in the namespace "eaves"')
program = {{"python": sys.executable, "tar": "tar"}}[command[0]]
arguments = [pods[pod].get("ROOT", "") + word if word.startswith("/") else word for word in command[1:]]
done = subprocess.run([program, *arguments], env={{"PATH": os.environ["PATH"], **pods[pod]}})
if done.returncode:
    sys.stderr.write("command terminated with exit code %d\\n" % done.returncode)
sys.exit(done.returncode)
"""


class FakeKubectl:
    """The program, and what it was asked.

    Args:
        folder: Folder in which the command is made.
        pods: Name of each pod that a command may be run in, with its environment, and with the folder `ROOT` in which
            its absolute paths are, if it reads any.
    """

    def __init__(self, folder: Path, pods: Mapping[str, Mapping[str, str]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (folder / "pods.json").write_text(json.dumps(pods))
        program = folder / "kubectl"
        program.write_text(_PROGRAM.format(python=sys.executable))
        program.chmod(0o755)

    @property
    def calls(self) -> list[dict[str, object]]:
        """Each call: kubectl's own arguments (`own`), the `command` in the pod, and the `kubeconfig` that was set."""
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]
