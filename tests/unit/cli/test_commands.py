"""The command line, typed: what it prints, where, and what it ends with."""

import json
import shlex
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from eaves.admin.report import to_json
from eaves.cli import COMMANDS, GROUPS, MODULES, cli, commands
from eaves.cli.commands.events import describe_refusal, list_images
from eaves.cli.project import load_workspace
from eaves.delivery import SinkResponse
from eaves.errors import ConfigError, EavesError, InputError, NotFoundError, PlatformError
from eaves.events import IMAGE_CLASSIFIED, decode, encode_binary
from eaves.ingress import Request, Response, answer_json
from eaves.local.client import LocalPlatform
from eaves.local.server import WebServer
from eaves.local.state import LocalApp, LocalFunction, StateDirectory
from eaves.platform import FunctionStatus, SourceSpec
from eaves.problem_document import build_problem
from eaves.rollout import RolloutSettings
from eaves.sources.files import capture_file
from tests.processes.commands import run_code


def eaves(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="eaves")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    assert eaves("init", tmp_path, "--name", "flowers").exit_code == 0
    return tmp_path / "eaves.yaml"


def test_init_finds_the_photos_that_are_there_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here/photos/red").mkdir(parents=True)
    (tmp_path / "here/photos/red/1.jpg").touch()
    assert eaves("init", "here").stderr == "next: `cd here` and `eaves train`\n"
    assert eaves("init", "here", "--force", "--data", "s3://b/photos").stderr == "next: `cd here` and `eaves train`\n"


def test_help_has_a_section_for_each_group_and_every_module_is_a_command():
    modules = {path.stem for path in Path(commands.__path__[0]).glob("*.py")} - {"__init__"}
    assert modules == {MODULES.get(name, name) for name in COMMANDS}

    sections = eaves("--help").output.split("\n\n")
    for heading, names in GROUPS.items():
        section = next(text.splitlines() for text in sections if text.startswith(f"{heading}:"))
        assert [line.split()[0] for line in section[1:]] == list(names)


def test_help_loads_nothing_heavy():
    """One process prints every help: what a command loads stays loaded, so the first one that loads it is named."""
    code = (
        "import json, sys\nfrom eaves.cli import COMMANDS, cli\n"
        "for words in (['--help'], *([name, '--help'] for name in COMMANDS)):\n"
        "    try: cli(words)\n"
        "    except SystemExit as ended: print(json.dumps([words[0], ended.code, [*sys.modules]]), file=sys.stderr)\n"
    )
    done = run_code(code, check=True)
    loaded = {}
    for line in done.stderr.splitlines():
        name, exit_code, modules = json.loads(line)
        assert exit_code == 0, name
        loaded[name] = set(modules)
    assert set(loaded) == {"--help", *COMMANDS}
    heavy = {"tensorflow", "keras", "onnx", "kubernetes", "onnxruntime", "cryptography"}
    assert {name: modules & heavy for name, modules in loaded.items() if modules & heavy} == {}
    assert loaded["--help"] & {"numpy", "PIL", "flask", "rich", "yaml", "cloudevents"} == set()


def test_every_commented_setting_of_a_new_file_is_valid_once_uncommented(project: Path, tmp_path: Path):
    lines = project.read_text().splitlines()
    settings = [
        line.replace("#", "", 1) if line.lstrip().startswith("#") and _is_setting(line) else line for line in lines
    ]
    project.write_text("\n".join(settings))
    loaded = load_workspace(project)
    assert loaded.project.sources[0].name == "inbox"
    assert loaded.project.triggers[0].filter["confidence"] == "high"
    assert loaded.project.triggers[1].mqtt.home_assistant


def _is_setting(line: str) -> bool:
    text = line.lstrip()[1:]
    return (bool(text) and not text.startswith(" ")) or text.lstrip().startswith(
        ("- name", "- {name", "filter:", "url:", "mqtt:")
    )


def test_init_replaces_nothing_unless_forced(project: Path):
    project.write_text("name: mine\n")
    result = eaves("init", project.parent, "--name", "other")
    assert isinstance(result.exception, ConfigError)
    assert project.read_text() == "name: mine\n"
    assert eaves("init", project.parent, "--name", "other", "--force").exit_code == 0


def test_all_faults_of_a_file_are_reported_at_once_with_their_paths(project: Path):
    values = {
        "name": "Flowers!",
        "data": {"path": "photos"},
        "scale": {"min": 3, "max": 1},
        "train": {"arch": "resnet", "epoch": 3},
        "sources": [{"name": "inbox", "kind": "video"}],
    }
    project.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError) as caught:
        load_workspace(project)
    text = str(caught.value)
    assert "eaves.yaml: train.arch: must be one of" in text
    assert "eaves.yaml: train.epoch: unknown setting; did you mean epochs?" in text
    assert "eaves.yaml: sources[0].kind: there is no source kind 'video'; available kinds: camera, folder, http" in text


HUB = "url: 'mqtt://hub/a', mqtt: {home_assistant: yes}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scale: {min: 3, max: 2}", r"eaves.yaml: scale.max: must be >= scale.min \(got 2, min is 3\)"),
        (
            f"triggers: [{{name: a, {HUB}}}, {{name: b, {HUB}}}]",
            "home_assistant is set for more than one trigger",
        ),
        ("triggers: [{name: x, url: 'http://127.0.0.1/'}]", "is reserved for the trigger that feeds the function"),
    ],
)
def test_a_rule_across_fields_names_the_field(project: Path, text: str, message: str):
    project.write_text(f"name: x\n{text}\n")
    with pytest.raises(ConfigError, match=message):
        load_workspace(project)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(project: Path, monkeypatch: pytest.MonkeyPatch):
    project.write_text("data: {path: photos}\ntrain: {epochs: 1, batch_size: 1, seed: 1}\n")
    monkeypatch.setenv("EAVES_TRAIN_EPOCHS", "2")
    monkeypatch.setenv("EAVES_TRAIN_BATCH_SIZE", "2")
    train = load_workspace(project, {"train.epochs": "3"}).project.train
    assert (train.epochs, train.batch_size, train.seed) == (3, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["train"], "no such file", "eaves init"),
        (["convert", "--file", "e.yaml"], "holds no finished run to convert", "eaves train"),
        (["deploy", "--file", "e.yaml"], "holds no artifact to deploy", "eaves convert"),
        (["convert", "e.yaml", "--file", "other.yaml"], "other.yaml: no such file", "eaves init"),
        (["inspect", "."], "neither a run nor an artifact", "runs/ or artifacts/"),
        (["remove", "nothing"], "no function 'nothing' is deployed (deployed: none)", None),
        (["logs", "nothing"], "'nothing' has no log", "eaves status"),
    ],
)
def test_errors_say_what_and_what_to_do(
    arguments: list[str], message: str, hint: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("e.yaml").write_text("name: flowers\n")
    error = eaves(*arguments).exception
    assert isinstance(error, EavesError)
    assert message in error.message
    assert hint is None or hint in (error.hint or "")


@pytest.mark.parametrize("name", ["../victim", ""])
def test_remove_deletes_nothing_outside(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    victims = [tmp_path / "victim.json", tmp_path / ".eaves/victim.json"]
    for victim in victims:
        victim.parent.mkdir(exist_ok=True)
        victim.touch()
    assert isinstance(eaves("remove", name).exception, NotFoundError)
    assert all(victim.exists() for victim in victims)


def test_a_bad_flag_is_named_as_it_was_typed(project: Path):
    error = eaves("train", "--file", project, "--data", project.parent, "--epochs", "many").exception
    assert isinstance(error, ConfigError)
    assert error.message == "--epochs: train.epochs: must be an integer (got 'many')"


def test_send_without_up_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    error = eaves("send", "a.png", "--function", "f").exception
    assert isinstance(error, EavesError)
    assert (error.message, error.exit_code) == ("no local platform runs with the state directory .eaves", 69)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_send_takes_a_folder_and_names_what_a_function_does_not_read(tmp_path: Path):
    assert isinstance(eaves("send", tmp_path, "--function", "f").exception, InputError), "no image is in it"
    files = {"a.jpg": HEIC, "below/b.PNG": b"text", ".hidden.jpg": b"x", "notes.txt": b"x"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    taken = SinkResponse(status=415, body=build_problem(415, "not taken", "send one of: image/jpeg, image/png"))
    found = list(list_images([tmp_path]))
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.jpg", "below/b.PNG"]
    events = [capture_file(path, site="home") for path in found]
    assert events[0].datacontenttype == "image/heic"
    reasons = [describe_refusal(path, event, taken) for path, event in zip(found, events, strict=True)]
    assert reasons[0] == "HEIC and AVIF images can't be read; convert the file to JPEG"
    assert reasons[1].startswith("the file is not an image ")


def test_send_prints_the_predictions_before_an_error(tmp_path: Path):
    reply = {"predictions": [{"label": "rose", "score": 0.9}]}

    def serve(request: Request) -> Response:
        if request.path == "/status":
            return answer_json(to_json([FunctionStatus(name="f", state="ready")]))
        event = decode(request.header_fields(), request.read_body(1_000))
        if event.subject == "b.png":
            time.sleep(1.5)  # longer than --timeout
        made = replace(
            event, type=IMAGE_CLASSIFIED, datacontenttype="application/json", data=json.dumps(reply).encode()
        )
        headers, body = encode_binary(made)
        return Response(status=200, headers=headers, body=body)

    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    state = tmp_path / ".eaves"
    state.mkdir()
    server = WebServer(serve, path=state / "control.sock")
    try:
        result = eaves("send", tmp_path, "--state", state, "--timeout", "1", "-o", "json")
    finally:
        server.stop()
    assert isinstance(result.exception, PlatformError)
    assert [row["label"] for row in json.loads(result.stdout)] == ["rose"]


@pytest.mark.parametrize(("sources", "queue"), [((SourceSpec(name="gate"),), "agents/a.db"), ((), "spool.db")])
def test_a_rollback_on_this_machine_names_the_queue_of_what_was_refused(
    tmp_path: Path, sources: tuple[SourceSpec, ...], queue: str
):
    state = StateDirectory(root=tmp_path / "of home")
    state.prepare()
    for version in "12":
        function = LocalFunction(name="a", site="s", artifact=tmp_path, env={"VERSION": version})
        state.write_spec(LocalApp(function=function, sources=sources))
    typed = shlex.split(eaves("rollback", "a", "--state", state.root).stderr.partition(": eaves ")[2])
    assert typed[:3] == ["queue", "retry", "--dead"]
    assert str(eaves(*typed).exception) == f"there is no queue {state.root / queue}", "no image has come yet"


def test_a_canary_is_shown_and_moved_by_the_commands_of_a_rollout(tmp_path: Path):
    place = ("--state", tmp_path / "state")
    platform = LocalPlatform(tmp_path / "state")

    def deploy(digest: str) -> None:
        function = LocalFunction(name="a", site="s", artifact=tmp_path, artifact_digest=64 * digest)
        platform.deploy(LocalApp(function=function), canary=RolloutSettings())

    def shares() -> dict[str, int]:
        rows = json.loads(eaves("rollout", "a", *place, "-o", "json").stdout)
        return {row["revision"]: row["percent"] for row in rows}

    deploy("1")
    assert shares() == {"a": 100}
    assert "a has no canary" in str(eaves("rollout", "a", "--percent", "5", *place).exception)
    deploy("2")
    assert shares() == {"2" * 12: 0, "1" * 12: 100}
    assert eaves("rollout", "a", "--percent", "5", *place).stdout.split()[:2] == ["REVISION", "PERCENT"]
    assert shares() == {"2" * 12: 5, "1" * 12: 95}
    assert "a: rollout is held: 222222222222 5 %, 111111111111 95 %; set to 5 % by a user" in eaves(
        "status", *place
    ).stdout.replace("\n", " ")
    assert "advancing" in eaves("rollout", "a", "--resume", *place).stdout
    for command, share in (("rollback", 0), ("promote", 100), ("rollback", 0), ("rollback", 100)):
        assert eaves(command, "a", *place).exit_code == 0
        assert shares()["2" * 12] == share
