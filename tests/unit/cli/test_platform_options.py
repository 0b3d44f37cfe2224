"""Commands on clusters, typed: which sites are meant, options that don't fit together, and what is loaded for them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.cli.cluster.platform_options import PlatformChoice, choose_site, choose_sites, load_scope, read_choice
from eaves.errors import ConfigError, OciError
from knative.settings import SiteSettings

IMAGE = "registry.example/barn/flowers@sha256:" + "b" * 64
KNOWN = (SiteSettings(name="mill", wave=2), SiteSettings(name="barn"), SiteSettings(name="yard", context="y"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    values = {"name": "flowers", "data": {"path": "photos"}, "sites": [{"name": "barn"}, {"name": "mill"}]}
    (tmp_path / "eaves.yaml").write_text(yaml.safe_dump(values))
    return tmp_path


def eaves(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="eaves")


def chosen(**how: object) -> list[str]:
    return [site.name for site in choose_sites(KNOWN, PlatformChoice(**how))]  # type: ignore[arg-type]


def test_sites_come_in_the_order_of_their_waves() -> None:
    assert chosen(every=True) == ["barn", "yard", "mill"]
    assert chosen(sites=("mill", "barn")) == ["barn", "mill"]


def test_the_only_site_needs_no_word() -> None:
    assert choose_sites(KNOWN[:1], PlatformChoice()) == KNOWN[:1]
    assert choose_site(KNOWN[:1], PlatformChoice()) == KNOWN[0]


def test_options_replace_a_sites_own_context_and_namespace() -> None:
    (site,) = choose_sites(KNOWN, PlatformChoice(sites=("yard",), namespace="other"))
    assert (site.context, site.namespace) == ("y", "other")
    (site,) = choose_sites(KNOWN, PlatformChoice(sites=("yard",), context="z"))
    assert (site.context, site.namespace) == ("z", "")


@pytest.mark.parametrize(
    ("choice", "message", "hint"),
    [
        (PlatformChoice(), "eaves.yaml has 3 sites", "add --site mill for one site, or --all for every site"),
        (PlatformChoice(sites=("barn", "attic")), "no site 'attic'", "sites in eaves.yaml: mill, barn, yard"),
        (PlatformChoice(sites=("barn",), every=True), "excludes --all: it selects", "leave out --site or --all"),
        (PlatformChoice(every=True, context="z"), "is for one site, and 3 sites are", "choose one site with --site"),
        (PlatformChoice(sites=("barn", "mill"), namespace="z"), "for one site, and 2 sites", "choose one site"),
    ],
)
def test_a_choice_that_cant_be_reported_is_an_error_with_a_remedy(
    choice: PlatformChoice, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        choose_sites(KNOWN, choice)
    assert hint in str(raised.value.hint)


def test_a_command_for_one_site_takes_no_several() -> None:
    with pytest.raises(ConfigError, match="this command takes one site, and 3 are selected"):
        choose_site(KNOWN, PlatformChoice(every=True))


def test_names_of_sites_may_have_spaces_between_them() -> None:
    choice = read_choice(kubeconfig=None, context="", namespace="", sites=" barn, ,mill ", every=False)
    assert choice.sites == ("barn", "mill")


@pytest.mark.parametrize(
    ("choice", "clusters"),
    [
        (PlatformChoice(), False),
        (PlatformChoice(kubeconfig=Path("k")), False),
        (PlatformChoice(platform="knative"), True),
        (PlatformChoice(platform="local", sites=("barn",)), False),
        (PlatformChoice(sites=("barn",)), True),
        (PlatformChoice(every=True), True),
        (PlatformChoice(context="c"), True),
        (PlatformChoice(namespace="n"), True),
    ],
)
def test_where_a_command_goes_is_said_or_follows_from_the_rest(choice: PlatformChoice, clusters: bool) -> None:
    assert choice.knative is clusters


def test_without_an_eaves_yaml_there_is_one_place(tmp_path: Path) -> None:
    scope = load_scope(tmp_path / "eaves.yaml")
    assert (scope.name, [site.name for site in scope.sites]) == ("", ["here"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deploy", "--wait"], "--wait is for clusters; add --on knative"),
        (["deploy", "--timeout", "5"], "--timeout is for clusters; add --on knative"),
        (["deploy", "--parallel", "5"], "--parallel is for clusters; add --on knative"),
        (["deploy", "--yes"], "--yes is for clusters; add --on knative"),
        (["deploy", "--plain-http"], "--plain-http is for clusters; add --on knative"),
        (["deploy", IMAGE, "--offline", "--all", "--wait", "--detach"], "--wait and --detach exclude each other"),
        (["deploy", IMAGE, "--offline", "--all", "--wait", "--dry-run", "server"], "--wait and --dry-run exclude each"),
        (["deploy", IMAGE, "--offline", "--all", "--key", "k.pub"], "--key and --offline exclude each other"),
        (["rollout", "--percent", "3", "--resume"], "--percent and --resume exclude each other"),
        (["rollout", "--percent", "101"], "101 is not in the range 0<=x<=100"),
        (["diff", "one"], "name two container images, OLD and NEW, or add --on knative"),
    ],
)
def test_options_that_dont_fit_together_are_an_error_of_use(arguments: list[str], message: str, project: Path) -> None:
    result = eaves(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["deploy", "diff", "reconcile", "render", "rollback", "promote", "status"])
def test_a_command_that_needs_a_choice_of_sites_says_so_before_it_does_anything(command: str, project: Path) -> None:
    words = {"deploy": [IMAGE, "--offline"], "diff": [IMAGE, "--offline"], "render": [IMAGE, "--offline"]}
    words["reconcile"] = words["deploy"]
    on = [] if command in {"reconcile", "render"} else ["--on", "knative"]
    error = eaves(command, *words.get(command, []), *on).exception
    assert isinstance(error, ConfigError)
    assert "eaves.yaml has 2 sites" in error.message
    assert not (project / ".eaves").exists()


@pytest.mark.parametrize("command", ["deploy", "diff", "render"])
def test_a_container_image_has_to_be_named_somewhere(command: str, project: Path) -> None:
    on = [] if command == "render" else ["--on", "knative"]
    error = eaves(command, "--all", *on).exception
    assert isinstance(error, ConfigError)
    assert "eaves.yaml: knative.image: no container image is named" in error.message
    assert "eaves package ARTIFACT" in str(error.hint)


def test_a_tag_cant_be_trusted_unasked(project: Path) -> None:
    error = eaves("render", "registry.example/flowers:v1", "--offline", "--all").exception
    assert isinstance(error, OciError)
    assert (error.hint, error.exit_code) == ("name the container image by digest: REPOSITORY@sha256:...", 65)


@pytest.mark.parametrize("command", ["promote", "rollback", "rollout"])
def test_a_function_has_to_be_named_somewhere(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = eaves(command, "--context", "edge").exception
    assert isinstance(error, ConfigError)
    assert "is required, as there is no eaves.yaml that names the function" in error.message


def test_a_kubeconfig_that_isnt_there_is_named(project: Path) -> None:
    error = eaves("status", "--site", "barn", "--kubeconfig", "nowhere").exception
    assert isinstance(error, ConfigError)
    assert "nowhere: the kubeconfig does not exist" in error.message


def test_rendering_needs_no_client_of_clusters(project: Path) -> None:
    code = (
        "import sys\nfrom eaves.cli import cli\n"
        f"try: cli(['render', {IMAGE!r}, '--offline', '--all'])\nexcept SystemExit: pass\n"
        "print('kubernetes' in sys.modules or 'tensorflow' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "False"
    assert done.stdout.count("kind: Trigger") == 2


def test_kn_eaves_speaks_of_itself_as_kn_does() -> None:
    scripts = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kn-eaves"] == scripts["eaves"] == "eaves.cli:main"
    for name, usage in (("kn-eaves", "Usage: kn eaves render"), ("eaves", "Usage: eaves render")):
        code = f"import sys\nfrom eaves.cli import main\nsys.argv = ['/somewhere/{name}', 'render', '--help']\nmain()"
        done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(usage)
