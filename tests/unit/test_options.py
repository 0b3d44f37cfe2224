"""Options from settings: one table for flags, variables and help."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from eaves.config import SettingsLayer, setting
from eaves.errors import ConfigError, EavesError, Fault, OverloadedError
from eaves.options import build_settings, print_error, report_errors, settings_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    max_size: int = setting(3, "Most of it.", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    name: str = setting("x", "Its name.", env="FUNCTION_NAME")
    mode: str = setting("first", "Which.", choices=("first", "all"))
    loud: bool = setting(True, "Say more.")
    folder: Path | None = setting(None, "Where.")
    tags: tuple[str, ...] = setting((), "Any of them.", choices=("red", "blue"))
    places: dict[str, str] = setting(dict, "Not for a flag.")
    inner: Inner = setting(Inner, "Within.")


def run(
    *arguments: str, section: str = "", env: dict[str, str] | None = None, layer: SettingsLayer | None = None
) -> Any:
    built: list[Settings] = []
    others = {name: None for name in os.environ if name.startswith("EAVES_")}  # those of the user who runs the tests

    @click.command()
    @settings_options(Settings, section=section)
    def main(**options: Any) -> None:
        built.append(build_settings(Settings, options, *([layer] if layer else []), section=section))

    result = CliRunner().invoke(main, arguments, env={**others, **(env or {})}, catch_exceptions=True)
    if built:
        return built[0]
    return result


@pytest.mark.parametrize(
    ("arguments", "field", "expected"),
    [
        (["--no-loud"], "loud", False),
        (["--folder", "a"], "folder", Path("a")),
        (["--inner-max-size", "5"], "inner", Inner(max_size=5)),
        (["--mode", "all"], "mode", "all"),
        (["--tags", "blue, red"], "tags", ("blue", "red")),
        (["--tags", ""], "tags", ()),
    ],
)
def test_a_flag_sets_its_setting(arguments: list[str], field: str, expected: Any):
    assert getattr(run(*arguments), field) == expected


def test_a_word_that_is_no_choice_is_a_fault_that_names_its_place():
    result = run("--tags", "red,green")
    assert isinstance(result.exception, ConfigError)
    assert result.exception.message == "--tags: tags[1]: must be one of red, blue (got 'green')"


def test_a_section_names_its_variables_but_not_its_flags():
    settings = run("--name", "flag", section="train.", env={"EAVES_TRAIN_MODE": "all", "EAVES_MODE": "none"})
    assert (settings.name, settings.mode) == ("flag", "all")


@pytest.mark.parametrize(
    ("section", "names", "unread"),
    [
        (
            "",
            ["EAVES_LOUDD", "EAVES_INNER_SIZE", "EAVES_PLACES", "LEAVES"],
            "EAVES_INNER_SIZE, EAVES_LOUDD, EAVES_PLACES",
        ),
        ("", ["EAVES_LOUD", "EAVES_INNER_MAX_SIZE", "FUNCTION_NAME"], ""),
        (
            "train.",
            ["EAVES_TRAIN_LOUDD", "EAVES_TRAIN_LOUD", "EAVES_CONVERT_PRECISION", "EAVES_WORK"],
            "EAVES_TRAIN_LOUDD",
        ),
    ],
)
def test_variables_that_no_setting_reads_are_named(
    section: str, names: list[str], unread: str, caplog: pytest.LogCaptureFixture
):
    run(section=section, env=dict.fromkeys(names, "1"))
    assert caplog.messages == ([f"no setting of this process reads {unread}"] if unread else [])


def test_help_says_what_a_setting_is_and_its_variable():
    text = " ".join(run("--help", section="train.").output.split())
    assert "Most of it. [default: 3; x>=1; EAVES_TRAIN_INNER_MAX_SIZE]" in text
    assert "--inner-max-size INTEGER" in text
    assert "Where. [default: none; EAVES_TRAIN_FOLDER]" in text
    assert "--folder PATH" in text
    assert "--tags A,B" in text
    assert "--loud / --no-loud" in text
    assert "[first|all]" in text
    assert "Not for a flag" not in text


def raising(error: EavesError) -> Iterator[None]:
    raise error


def test_an_error_becomes_lines_on_stderr_and_an_exit_code(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        report_errors(lambda: raising(OverloadedError("too much", hint="send again later")))
    assert caught.value.code == 75
    assert capsys.readouterr() == ("", "error: too much\ntry: send again later\n")


def test_every_fault_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]):
    print_error(ConfigError([Fault(origin="a", path="b", message="c"), Fault(origin="d", path="", message="e")]))
    assert capsys.readouterr().err == "error: a: b: c\nerror: d: e\n"


def test_other_exceptions_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        report_errors(lambda: 1 / 0)
