"""Environment variables: misspelt names are reported."""

from __future__ import annotations

import pytest

from eaves.cli.project import Project
from eaves.config import SettingsLayer, build, env_layer, iter_leaves
from eaves.config.environment import MOST, find_variable_warnings
from eaves.errors import ConfigError
from eaves.sources.settings import AgentSettings
from functions.settings import FunctionSettings, ServeSettings

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


def test_the_command_line_knows_every_part() -> None:
    found = find_variable_warnings({"EAVES_TRAIN_EPOCH": "3", "EAVES_SCALE_MAX": "2"})
    assert found == ["EAVES_TRAIN_EPOCH is not read by any part of Eaves; did you mean EAVES_TRAIN_EPOCHS?"]


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
        "EAVES_SOURCES",
        "EAVES_TRAIN_EPOCHS",
        "EAVES_STATE",
        "EAVES_WORK",
        "EAVES_READER_TOKEN",
        "EAVES_RECEIVER_SITES",
        "EAVES_UP_LOG_MAX_BYTES",
        "EAVES_E2E_REGISTRY",
        "K_SINK",
        "LEAVES",
    ],
)
def test_variables_of_other_parts_are_no_fault(name: str) -> None:
    assert find_variable_warnings({name: "x"}, FUNCTION) == []


def test_variables_that_kubernetes_sets_for_services_are_no_fault() -> None:
    """A Service `eaves-relay` beside a pod with service links, and one that is misspelt beside them."""
    links = {
        "EAVES_RELAY_SERVICE_HOST": "10.96.0.9",
        "EAVES_RELAY_SERVICE_PORT": "80",
        "EAVES_RELAY_SERVICE_PORT_HTTP": "80",
        "EAVES_RELAY_PORT": "tcp://10.96.0.9:80",
        "EAVES_RELAY_PORT_80_TCP": "tcp://10.96.0.9:80",
        "EAVES_RELAY_PORT_80_TCP_ADDR": "10.96.0.9",
    }
    assert find_variable_warnings(links, FUNCTION) == []
    assert len(find_variable_warnings({**links, "EAVES_RELAY_TOO": "x"}, FUNCTION)) == 1
    assert len(find_variable_warnings({"EAVES_RELAY_PORT_80_TCP": "x"}, FUNCTION)) == 1


def test_a_list_of_sections_is_said_to_belong_into_the_file() -> None:
    found = find_variable_warnings({"EAVES_TRIGGERS": "[]"})
    assert found == ["EAVES_TRIGGERS is not read: a list of sections can be set in eaves.yaml only"]


def test_the_function_and_the_command_line_read_the_same_variables() -> None:
    names = {leaf.path.removeprefix("function."): leaf.env for leaf in iter_leaves(Project)}
    for leaf in iter_leaves(ServeSettings):
        assert leaf.env == names[leaf.path] == f"EAVES_{leaf.path.upper()}"
        assert next(one.env for one in FUNCTION if one.path == leaf.path) == leaf.env


def test_a_variable_sets_it_for_the_function_and_the_command_line() -> None:
    assert build(FunctionSettings, env_layer(FunctionSettings, {"EAVES_TOP_K": "3"})).top_k == 3
    assert build(Project, FILE, env_layer(Project, {"EAVES_TOP_K": "3"})).function.top_k == 3


def test_a_faulty_value_names_the_variable_that_holds_it() -> None:
    with pytest.raises(ConfigError, match="environment variable EAVES_TOP_K: top_k: must be an integer"):
        build(FunctionSettings, env_layer(FunctionSettings, {"EAVES_TOP_K": "three"}))
