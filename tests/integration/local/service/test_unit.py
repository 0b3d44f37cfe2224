"""A unit's values reach the program as they were given, by systemd's own reading."""

from pathlib import Path

import pytest

from eaves.errors import ConfigError
from eaves.local.service import render_unit
from tests.integration.local.service.systemd import read_unit, require_systemd

HOSTILE = (
    "two words",
    'a "quoted" word',
    "50% of %n, %% and %h",
    "$HOME ${PATH} $$ $",
    "back\\slash \\n \\x41 \\",
    "#comment",
    "",
    "@-:+!",
    "Gänseblümchen 日本",
)


def build_unit(
    *,
    project: str = "/srv/flowers",
    command: tuple[str, ...] = ("/bin/true", "up"),
    state: str = "/srv/flowers/.eaves",
    **environment: str,
) -> str:
    return render_unit("flowers", Path(project), command, Path(state), account="root", environment=environment)


def write(folder: Path, unit: str) -> Path:
    path = folder / "eaves-flowers.service"
    path.write_text(unit)
    return path


def test_arguments_reach_the_program_as_they_are(tmp_path: Path):
    require_systemd()
    found = read_unit(write(tmp_path, build_unit(command=("/bin/true", *HOSTILE))))
    assert found.command == ["/bin/true", *HOSTILE]


def test_paths_are_read_as_they_are(tmp_path: Path):
    require_systemd()
    name = "/".join(filter(None, HOSTILE))
    project = f"/srv/{name}"
    program, state = "/srv/two words/50%/$HOME/eaves", f"{project}/.eaves"
    unit = build_unit(project=project, command=(program, "up"), state=state, TZ=name)
    found = read_unit(write(tmp_path, unit))
    assert found.values["WorkingDirectory"].rstrip("/") == project
    assert found.values["ReadWritePaths"] == f"-{state}"
    assert found.environment == {"TZ": name}
    assert found.command == [program, "up"]


def test_the_service_waits_for_the_disk_of_its_state():
    """Without the disk, `eaves up` would make another state directory below the place where it is mounted."""
    unit = build_unit(state="/mnt/my disk/.eaves")
    head = unit.partition("[Service]")[0]
    assert '\nRequiresMountsFor="/mnt/my disk/.eaves"\n' in head


@pytest.mark.parametrize("text", ["line\nExecStartPre=/bin/rm", "\x1b[2J", "\udcff"], ids=ascii)
def test_what_a_unit_can_not_hold_is_refused(text: str):
    with pytest.raises(ConfigError, match="control character"):
        build_unit(project=f"/srv/{text}")


@pytest.mark.parametrize("program", ['/srv/"a"/eaves', "/srv/it's/eaves", "/srv/a\\b/eaves"])
def test_a_program_that_systemd_refuses_is_refused(program: str):
    with pytest.raises(ConfigError, match="quotes or backslashes"):
        build_unit(command=(program, "up"))


def test_a_dollar_sign_is_kept_when_systemd_starts_the_program():
    """Its own reading shows arguments before it replaces variables, so the prefix is looked for in the file."""
    assert "\nExecStart=:/bin/true " in build_unit(command=("/bin/true", "$HOME"))
    assert "\nExecStart=/bin/true " in build_unit(command=("/bin/true", "HOME"))
