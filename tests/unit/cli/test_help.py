"""The help of every command: each sentence stands alone, each option has its type, unit and default."""

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result

from eaves.cli import COMMANDS, cli, load_command

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


def test_options_have_types_defaults_and_sentences_that_stand_alone():
    """The texts of settings are those of their sections, which tests/unit/test_options.py looks at."""
    faults = []
    for name, command in ALL.items():
        for option in command.params:
            if not isinstance(option, click.Option):
                continue
            usage, text = option.get_help_record(click.Context(command)) or ("", "")
            has_default = isinstance(option.default, (int, float, str)) and not option.is_flag
            if has_default and option.default not in ("", None) and not option.flag_value:
                faults += (
                    [f"{name} {usage}: no default"] if "[default: " not in text and "; default" not in text else []
                )
            faults += [f"{name} {usage}: a number has a unit"] if usage.endswith((" FLOAT", " FLOAT RANGE")) else []
            if "[default: " not in (option.help or "") and (FRAGMENT.match(text) or BANNED.search(text)):
                faults.append(f"{name} {usage}: {text}")
    assert faults == []


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["receiver", "statsu"], "No such command 'statsu'. Did you mean 'status'?"),
        (["xyzzy"], "Error: No such command 'xyzzy'.\n"),
        (["--versoin"], "No such option"),
    ],
)
def test_a_mistyped_command_gets_a_suggestion(words: list[str], suggestion: str):
    done = eaves(*words)
    assert done.exit_code == 2
    assert suggestion in done.stderr


def test_numbers_and_options_of_queue_mean_its_list():
    for words in (["7"], ["--dead"], []):
        assert "No such command" not in eaves("queue", *words, "--state", "/nonexistent").stderr
