"""Which entries are meant, as it travels in queries and arguments."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from eaves.admin.options import build_selector, filter_options, numbers_argument, to_arguments
from eaves.admin.selector import MAX_SEQ, STATES, Selector, parse_selector
from eaves.errors import InputError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SELECTORS = st.builds(
    Selector,
    seqs=st.lists(st.integers(0, MAX_SEQ), max_size=3).map(tuple),
    lane=TEXT,
    state=st.sampled_from(("", *STATES)),
    source=TEXT,
    reason=TEXT,
    older_than_s=st.none() | st.integers(0, 10**6).map(float),
    after=st.integers(0, MAX_SEQ),
)


@given(SELECTORS)
def test_it_comes_back_from_a_query(selector: Selector) -> None:
    assert parse_selector(selector.to_query()) == selector


@given(SELECTORS)
def test_it_comes_back_from_a_command_line(selector: Selector) -> None:
    found: list[Selector] = []

    @click.command()
    @numbers_argument
    @filter_options()
    def command(**chosen: object) -> None:
        found.append(build_selector(**chosen))  # type: ignore[arg-type]

    result = CliRunner().invoke(command, to_arguments(selector))
    assert result.exit_code == 0, result.output
    assert found == [selector]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"lanes": "x"}, "unknown filter 'lanes'"),
        ({"seqs": "1,x"}, "not the number of a queue entry: 'x'"),
        ({"seqs": str(MAX_SEQ + 1)}, "not the number of a queue entry"),
        ({"seqs": "9" * 5000}, "not the number of a queue entry"),
        ({"seqs": "\u0663"}, "not the number of a queue entry"),
        ({"state": "gone"}, "state must be one of queued, dead"),
        ({"older_than_s": "nan"}, "older_than_s must be a number of seconds >= 0"),
        ({"older_than_s": "-1"}, "older_than_s must be a number of seconds >= 0"),
        ({"older_than_s": "2h"}, "older_than_s must be a number of seconds >= 0"),
    ],
)
def test_what_can_not_be_read_is_refused(query: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_selector(query)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("7d", 604_800.0), ("0.5h", 1_800.0)])
def test_ages_have_units(text: str, seconds: float) -> None:
    found: list[float] = []

    @click.command()
    @filter_options()
    def command(older_than: float, **_: object) -> None:
        found.append(older_than)

    assert CliRunner().invoke(command, ["--older-than", text]).exit_code == 0
    assert found == [seconds]
    assert CliRunner().invoke(command, ["--older-than", text[:-1]]).exit_code == 2
