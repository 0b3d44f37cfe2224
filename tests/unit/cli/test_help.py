"""The help of every command: each sentence stands alone, each option has its type, unit and default."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result

from converters.settings import ConvertSettings
from eaves.cli import COMMANDS, cli, load_command
from eaves.config import SettingsLeaf, is_scalar, iter_leaves
from eaves.local.settings import LocalSettings
from eaves.options import parameter_name
from eaves.receiver.settings import ReceiverSettings
from trainer.settings import TrainSettings

SETTINGS: dict[str, tuple[type, str]] = {
    "train": (TrainSettings, "train."),
    "convert": (ConvertSettings, "convert."),
    "up": (LocalSettings, "up."),
    "receiver run": (ReceiverSettings, "receiver."),
}
FRAGMENT = re.compile(r"(Of|As|By|Where|Whose|In which|What|Which|Such|Then)\b")
BANNED = re.compile(r"\b(told|mends?|whoever|goes on|stands? in the way|want(ed|ing)?)\b", re.IGNORECASE)


def eaves(*words: str) -> Result:
    return CliRunner().invoke(cli, words, prog_name="eaves", terminal_width=200)


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for inner_name, inner in command.commands.items():
            yield from walk(inner, f"{name} {inner_name}")
    yield name, command


ALL = dict(found for name in COMMANDS for found in walk(load_command(name), name))
OPTIONS = [
    (f"{name} {parameter.opts[0]}", parameter)
    for name, command in ALL.items()
    for parameter in command.params
    if isinstance(parameter, click.Option)
]


def leaves(name: str) -> dict[str, SettingsLeaf]:
    cls, section = SETTINGS[name]
    found = [leaf for leaf in iter_leaves(cls, section) if is_scalar(leaf.type)]
    return {parameter_name(leaf.path.removeprefix(section)): leaf for leaf in found}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_says_its_type_and_default(name: str) -> None:
    command, known = ALL[name], leaves(name)
    found = {one.name: one for one in command.params if isinstance(one, click.Option) and one.name in known}
    assert set(found) == set(known)
    for key, option in found.items():
        usage, text = option.get_help_record(click.Context(command)) or ("", "")
        assert "[default: " in text, key
        assert known[key].env in text, key
        number = known[key].type in (int, float)
        assert not (number and usage.endswith("TEXT")), usage
        assert option.is_flag or " " in usage, f"{usage} has no type"
        if number and key.endswith(("_s", "_bytes", "_mb", "_gb", "_days")):
            assert usage.split()[-1] in ("SECONDS", "BYTES", "MB", "GB", "DAYS"), usage


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=[name for name, _ in OPTIONS])
def test_an_option_has_a_type_a_default_and_a_sentence_that_stands_alone(name: str, option: click.Option) -> None:
    usage, text = option.get_help_record(click.Context(ALL[name.rpartition(" ")[0]])) or ("", "")
    assert "<function" not in text
    assert not usage.endswith((" FLOAT", " FLOAT RANGE")), "a number has a unit"
    if isinstance(option.default, (int, float, str)) and not option.is_flag and option.default not in ("", None):
        assert "[default: " in text or "; default" in text or option.flag_value, text
    if "[default: " not in (option.help or ""):  # the texts of settings are those of their sections
        assert not FRAGMENT.match(text), text
        assert not BANNED.search(text), text


@pytest.mark.parametrize("name", ALL)
def test_a_command_begins_with_a_sentence_that_stands_alone(name: str) -> None:
    first = (ALL[name].help or "").split("\n\n")[0].replace("\n", " ")
    assert first.endswith(".")
    assert not BANNED.search(first), first
    assert not FRAGMENT.match(first), first


def test_the_list_of_commands_has_whole_sentences_within_80_columns() -> None:
    texts = list(COMMANDS.values())
    assert [text for text in texts if BANNED.search(text) or not text.endswith(".") or len(text) > 66] == []
    assert all(text in CliRunner().invoke(cli, ["--help"]).output for text in texts)


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if isinstance(command, click.Group)])
def test_no_sentence_of_a_subcommand_is_cut(name: str) -> None:
    assert "..." not in eaves(name, "--help").output.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["receiver", "statsu"], "No such command 'statsu'. Did you mean 'status'?"),
    ],
)
def test_a_mistyped_command_gets_a_suggestion(words: list[str], suggestion: str) -> None:
    done = eaves(*words)
    assert done.exit_code == 2
    assert suggestion in done.stderr


def test_a_name_like_no_command_gets_no_suggestion() -> None:
    done = eaves("xyzzy")
    assert done.stderr.endswith("Error: No such command 'xyzzy'.\n")


def test_an_unknown_option_is_not_taken_for_a_command() -> None:
    assert "No such option" in eaves("--versoin").stderr


def test_numbers_and_options_of_queue_mean_its_list() -> None:
    for words in (["7"], ["--dead"], []):
        assert "No such command" not in eaves("queue", *words, "--state", "/nonexistent").stderr


def test_the_completion_that_the_help_names_completes_commands() -> None:
    assert "_EAVES_COMPLETE=bash_source" in eaves("--help").output
    env = {**os.environ, "_EAVES_COMPLETE": "bash_complete", "COMP_WORDS": "eaves tra", "COMP_CWORD": "1"}
    code = "from eaves.cli import main; main()"
    done = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["plain,train"]
