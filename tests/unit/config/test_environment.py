"""Environment variables: misspelt names are reported."""

from __future__ import annotations

import pytest

from eaves.config import SettingsLayer, iter_leaves
from eaves.config.environment import MOST, find_variable_warnings
from eaves.sources.settings import AgentSettings
from functions.settings import FunctionSettings

FUNCTION = list(iter_leaves(FunctionSettings))
AGENT = list(iter_leaves(AgentSettings))
FILE = SettingsLayer(origin="eaves.yaml", values={"data": {"path": "photos"}})


def test_a_misspelt_variable_is_reported_with_the_nearest_name() -> None:
    found = find_variable_warnings({"EAVES_TOPK": "3", "EAVES_TOP_K": "3"}, FUNCTION)
    assert found == ["EAVES_TOPK is not read by any part of Eaves; did you mean EAVES_TOP_K?"]


def test_the_nearest_name_is_one_that_the_process_reads() -> None:
    """EAVES_SITES, which a receiver reads, is nearer than EAVES_SITE, which a function reads."""
    (said,) = find_variable_warnings({"EAVES_SITESS": "barn"}, FUNCTION)
    assert said.endswith("did you mean EAVES_SITE?")
    (said,) = find_variable_warnings({"EAVES_SITESS": "barn"})
    assert said.endswith("did you mean EAVES_SITES?")


def test_a_name_that_is_near_none_is_reported_with_the_page() -> None:
    found = find_variable_warnings({"EAVES_XYZZY_PLUGH": "1"}, FUNCTION)
    assert found == ["EAVES_XYZZY_PLUGH is not read by any part of Eaves; docs/reference.md lists all variables"]


def test_of_many_unknown_names_the_first_are_reported() -> None:
    """Each name costs milliseconds of a function's start, and a line in every process's log."""
    found = find_variable_warnings({f"EAVES_ODD_{number:03}": "x" for number in range(500)}, FUNCTION)
    assert len(found) == MOST + 1
    assert found[0].startswith("EAVES_ODD_000 ")
    assert found[-1] == "480 more variables that begin with EAVES_ are not read; docs/reference.md has all names"


@pytest.mark.parametrize(
    "name",
    [
        "EAVES_SPOOL",
        "EAVES_TRAIN_EPOCHS",
        "EAVES_RECEIVER_SITES",
        "EAVES_E2E_REGISTRY",
        "K_SINK",
        "LEAVES",
    ],
)
def test_variables_of_other_parts_are_no_fault(name: str) -> None:
    assert find_variable_warnings({name: "x"}, FUNCTION) == []


def test_a_list_of_sections_is_said_to_belong_into_the_file() -> None:
    found = find_variable_warnings({"EAVES_TRIGGERS": "[]"})
    assert found == ["EAVES_TRIGGERS is not read: a list of sections can be set in eaves.yaml only"]
