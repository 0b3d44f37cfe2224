"""The configuration engine: layers, types, ranges, and every fault at once."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

import pytest

from eaves.config import SettingsLayer, build, build_flat, env_layer, flag_layer, setting
from eaves.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    min: int = setting(0, "Fewest.", minimum=0)
    max: int = setting(10, "Most.", minimum=0, maximum=100)

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.max < self.min:
            yield "max", f"must be >= scale.min (got {self.max}, min is {self.min})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    type: str = setting(MISSING, "What it waits for.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    name: str = setting("function", "Its name.", env="FUNCTION_NAME")
    ratio: float = setting(0.5, "A share.", minimum=0, maximum=1)
    size: int = setting(1, "A size.")
    limit: float | None = setting(None, "Seconds.", minimum=0)
    folder: Path = setting(Path("here"), "A folder.")
    loud: bool = setting(False, "Say more.")
    mode: str = setting("first", "Which.", choices=("first", "all"))
    tags: tuple[str, ...] = setting((), "Words.")
    triggers: tuple[Trigger, ...] = setting((), "What starts it.")
    labels: Mapping[str, str] = setting(dict, "Names.")
    scale: Scale = setting(Scale, "How many.")


def file_layer(**values: Any) -> SettingsLayer:
    return SettingsLayer(origin="eaves.yaml", values=values)


def faults_of(*layers: SettingsLayer) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        build(Section, *layers)
    return [str(fault) for fault in caught.value.faults]


def test_flag_beats_environment_beats_file_beats_default():
    layers = [
        file_layer(name="file", ratio=0.1, scale={"min": 1, "max": 2}),
        env_layer(Section, {"FUNCTION_NAME": "env", "EAVES_SCALE_MAX": "3", "EAVES_SIZE": "5"}),
        flag_layer({"name": "flag"}),
    ]
    section = build(Section, *layers)
    assert (section.name, section.scale, section.ratio, section.size) == ("flag", Scale(min=1, max=3), 0.1, 5)


def test_a_fault_names_the_origin_that_won():
    environ = {"EAVES_SCALE_MAX": "many"}
    assert faults_of(file_layer(scale={"max": 1}), env_layer(Section, environ)) == [
        "environment variable EAVES_SCALE_MAX: scale.max: must be an integer (got 'many')"
    ]
    assert faults_of(env_layer(Section, environ), flag_layer({"scale.max": "1000"})) == [
        "--scale-max: scale.max: must be <= 100 (got '1000')"
    ]


def test_all_faults_are_reported_at_once():
    found = faults_of(file_layer(nmae="x", ratio=2, scale={"max": -1}, mode="some", triggers=[{}, 3]))
    assert found == [
        "eaves.yaml: nmae: unknown setting; did you mean name?",
        "eaves.yaml: ratio: must be <= 1 (got 2)",
        "eaves.yaml: mode: must be one of first, all (got 'some')",
        "eaves.yaml: triggers[0].type: is required",
        "eaves.yaml: triggers[1]: must be a mapping (got 3)",
        "eaves.yaml: scale.max: must be >= 0 (got -1)",
    ]


def test_a_rule_across_fields_is_reported_with_its_path_and_origin():
    assert faults_of(file_layer(scale={"min": 3}), flag_layer({"scale.max": "2"})) == [
        "--scale-max: scale.max: must be >= scale.min (got 2, min is 3)"
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"size": str(2**53 + 1)}, 2**53 + 1),
        ({"limit": None}, None),
        ({"folder": "a/b"}, Path("a/b")),
        ({"loud": "YES"}, True),
        ({"name": 5}, "5"),
        ({"tags": "a, b,,c"}, ("a", "b", "c")),
        ({"triggers": [{"type": "x"}]}, (Trigger(type="x"),)),
        ({"labels": {"a": 1, 2: "b"}}, {"a": "1", "2": "b"}),
        ({"scale": None}, Scale()),
    ],
)
def test_values_are_parsed_by_type(values: dict[str, Any], expected: Any):
    value = getattr(build(Section, file_layer(**values)), next(iter(values)))
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": True}, "must be an integer"),
        ({"size": "9" * 5000}, "must be an integer"),
        ({"ratio": "nan"}, "must be a number"),
        ({"loud": "maybe"}, "must be true or false"),
        ({"folder": ""}, "must be a path"),
        ({"name": None}, "must be a string"),
        ({"tags": 3}, "must be a list"),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_fault(values: dict[str, Any], message: str):
    (found,) = faults_of(file_layer(**values))
    assert message in found
    assert next(iter(values)) in found
    assert len(found) < 300


def test_an_empty_variable_unsets_an_optional_setting_and_no_other():
    file = file_layer(limit=3, folder="x")
    assert build(Section, file, env_layer(Section, {"EAVES_LIMIT": ""})).limit is None
    (found,) = faults_of(file, env_layer(Section, {"EAVES_FOLDER": ""}))
    assert "must be a path" in found


def test_rules_of_sections_in_a_list_are_checked_too():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Many:
        scales: tuple[Scale, ...] = setting((), "Several.")

    # Annotations are text here, so the local class needs its own namespace.
    Many.__annotations__["scales"] = tuple[Scale, ...]
    with pytest.raises(ConfigError, match=r"eaves.yaml: scales\[1\].max: must be >= scale.min"):
        build(Many, file_layer(scales=[{"max": 3}, {"min": 3, "max": 2}]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Collecting:
    name: str = setting("", "Own.")
    rest: dict[str, Any] = setting(dict, "Others'.", collects=True)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "a", "size": 5, "deep": {"x": [1]}},
        {"name": "a", "rest": None, "size": 5, "deep": {"x": [1]}},
    ],
)
def test_settings_of_others_are_collected_as_they_are(values: dict[str, Any]):
    assert build(Collecting, SettingsLayer(origin="f", values=values)) == Collecting(
        name="a", rest={"size": 5, "deep": {"x": [1]}}
    )


def test_flat_sections_share_a_mapping_and_every_fault_is_reported():
    (first, second), faults = build_flat(
        [Collecting, Section], {"name": "a", "scale": {"max": 3}}, origin="f", prefix="x."
    )
    assert (first, second.scale.max, faults) == (Collecting(name="a"), 3, [])
    _, faults = build_flat(
        [Section], {"scal": 1, "scale": {"max": -1}, "own": 1}, origin="f", prefix="x.", beside=["owns"]
    )
    assert [str(fault) for fault in faults][:2] == [
        "f: x.scal: unknown setting; did you mean scale?",
        "f: x.own: unknown setting; did you mean owns?",
    ]
    assert [fault.path for fault in faults[2:]] == ["x.scale.max"]
