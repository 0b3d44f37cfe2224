"""Values stay the text that stands in the file, and nothing vanishes."""

import pytest

from eaves.config.yaml_text import load_yaml


@pytest.mark.parametrize("text", ["no", "1.10", "010", "1:30", "2026-11-26", ".nan"])
def test_a_value_is_its_text(text: str):
    assert load_yaml(f"label: {text}\nlist: [{text}]") == {"label": text, "list": [text]}


def test_nothing_is_none_and_quoted_words_are_texts():
    assert load_yaml("a:\nb: null\nc: ~\nd: 'null'") == {"a": None, "b": None, "c": None, "d": "null"}


def test_parts_may_be_used_again():
    assert load_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}") == {"a": {"x": "1", "y": "2"}, "b": {"x": "1", "y": "3"}}


def test_what_was_merged_may_be_merged_again():
    text = "base: &base {every: 1}\nlist: [{deep: &deep {<<: *base, every: 2}}]\nlast: {<<: *deep, rate: 3}"
    assert load_yaml(text)["last"] == {"every": "2", "rate": "3"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train:\n  seed: 1\na: {}\ntrain:\n  seed: 2\n",
            "line 4: 'train' appears twice, in lines 1 and 4; keep",
        ),
        ("a: [1\nb: 2", "line 2"),
        ("a: !!python/object/apply:os.system [ls]", "line 1: could not determine a constructor"),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(text: str, message: str):
    with pytest.raises(ValueError, match="line") as caught:
        load_yaml(text)
    assert message in str(caught.value)
