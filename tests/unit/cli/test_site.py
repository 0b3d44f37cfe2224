"""Commands on clusters, typed: which sites are meant, options that don't fit together, and what is loaded for them."""

import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from eaves.cli import cli, main
from eaves.cli.site import Place, place_options
from eaves.errors import ConfigError, OciError
from tests.processes.commands import run_code

IMAGE = "registry.example/barn/flowers@sha256:" + "b" * 64
KNOWN: list[dict[str, Any]] = [{"name": "mill", "wave": 2}, {"name": "barn"}, {"name": "yard", "context": "y"}]


def write(folder: Path, sites: list[dict[str, Any]]) -> Path:
    (folder / "eaves.yaml").write_text(yaml.safe_dump({"name": "flowers", "data": {"path": "photos"}, "sites": sites}))
    return folder / "eaves.yaml"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    write(tmp_path, [{"name": "barn"}, {"name": "mill"}])
    return tmp_path


def eaves(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="eaves")


def choose(folder: Path, *words: str, sites: list[dict[str, Any]] = KNOWN) -> Place:
    """The place that the words mean in the folder of an eaves.yaml with these sites."""
    found: list[Place] = []

    @click.command()
    @place_options("file", "on", "all")
    def command(place: Place) -> None:
        found.append(place)

    command.main(["--file", str(write(folder, sites)), *words], standalone_mode=False)
    return found[0]


def test_sites_come_in_the_order_of_their_waves_with_the_options_in_place_of_their_own(tmp_path: Path):
    def chosen(*words: str) -> list[tuple[str, str, str]]:
        return [(one.name, one.context, one.namespace) for one in choose(tmp_path, *words).chosen]

    assert [name for name, _, _ in chosen("--all")] == ["barn", "yard", "mill"]
    assert [name for name, _, _ in chosen("--site", " mill, ,barn ")] == ["barn", "mill"]
    assert chosen("--site", "yard", "--namespace", "other") == [("yard", "y", "other")]
    assert chosen("--site", "yard", "--context", "z") == [("yard", "z", "")]
    assert choose(tmp_path, sites=KNOWN[:1]).one.name == "mill", "the only site needs no word"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("", "eaves.yaml has 3 sites", "add --site mill for one site, or --all for every site"),
        ("--site barn,attic", "no site 'attic'", "sites in eaves.yaml: mill, barn, yard"),
        ("--site barn --all", "excludes --all: it selects", "leave out --site or --all"),
        ("--all --context z", "is for one site, and 3 sites are", "choose one site with --site"),
        ("--all", "this command takes one site, and 3 are selected", "add --site barn"),
    ],
)
def test_a_choice_that_doesnt_fit_is_an_error_with_a_remedy(words: str, message: str, hint: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=message) as raised:
        _ = choose(tmp_path, *words.split()).one
    assert hint in str(raised.value.hint)


def test_without_an_eaves_yaml_there_is_one_place(tmp_path: Path):
    place = Place(file=tmp_path / "eaves.yaml")
    assert (place.project.name, [site.name for site in place.chosen]) == ("", ["here"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deploy", "--wait"], "--wait is for clusters; add --on knative"),
        (["deploy", IMAGE, "--offline", "--all", "--wait", "--detach"], "--wait and --detach exclude each other"),
        (["deploy", IMAGE, "--offline", "--all", "--key", "k.pub"], "--key and --offline exclude each other"),
        (["deploy", IMAGE, "--all", "--canary"], "--canary is for this machine"),
        (["rollout", "--percent", "3", "--resume"], "--percent, --resume and --audit exclude each other"),
    ],
)
def test_options_that_dont_fit_together_are_an_error_of_use(arguments: list[str], message: str, project: Path):
    result = eaves(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["deploy", "render", "rollback"])
def test_a_command_that_needs_a_choice_of_sites_says_so_before_it_does_anything(command: str, project: Path):
    words = [IMAGE, "--offline"] if command in {"deploy", "render"} else []
    on = [] if command == "render" else ["--on", "knative"]
    error = eaves(command, *words, *on).exception
    assert isinstance(error, ConfigError)
    assert "eaves.yaml has 2 sites" in error.message
    assert not (project / ".eaves").exists()


@pytest.mark.parametrize("command", ["deploy", "render"])
def test_a_container_image_has_to_be_named_somewhere(command: str, project: Path):
    on = [] if command == "render" else ["--on", "knative"]
    error = eaves(command, "--all", *on).exception
    assert isinstance(error, ConfigError)
    assert "eaves.yaml: knative.image: no container image is named" in error.message
    assert "eaves package ARTIFACT" in str(error.hint)


def test_a_tag_cant_be_trusted_unasked(project: Path):
    error = eaves("render", "registry.example/flowers:v1", "--offline", "--all").exception
    assert isinstance(error, OciError)
    assert (error.hint, error.exit_code) == ("name the container image by digest: REPOSITORY@sha256:...", 65)


def test_a_kubeconfig_that_isnt_there_is_named(project: Path):
    error = eaves("status", "--site", "barn", "--kubeconfig", "nowhere").exception
    assert isinstance(error, ConfigError)
    assert "nowhere: the kubeconfig does not exist" in error.message


def test_rendering_needs_no_client_of_clusters(project: Path):
    code = (
        "import sys\nfrom eaves.cli import cli\n"
        f"try: cli(['render', {IMAGE!r}, '--offline', '--all'])\nexcept SystemExit: pass\n"
        "print('kubernetes' in sys.modules or 'tensorflow' in sys.modules, file=sys.stderr)"
    )
    done = run_code(code, check=True)
    assert done.stderr.strip() == "False"
    assert done.stdout.count("kind: Trigger") == 2


def test_kn_eaves_speaks_of_itself_as_kn_does(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    scripts = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kn-eaves"] == scripts["eaves"] == "eaves.cli:main"
    monkeypatch.setattr("sys.argv", ["/somewhere/kn-eaves", "render", "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert capsys.readouterr().out.startswith("Usage: kn eaves render")
