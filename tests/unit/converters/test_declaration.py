"""Content of a declaration, and all its faults reported at once."""

from pathlib import Path

import pytest
import yaml

from converters.declaration import Declaration, Interface, load_declaration
from converters.model_source import open_source
from eaves.errors import ConfigError, ConversionError
from tests.fakes.models.artifact import COLOURS, encode_png

GOOD = {"name": "flowers", "labels": ["red", "green"], "height": 8, "width": 8, "samples": "samples"}


def write(folder: Path, **changes: object) -> Path:
    for name, colour in list(COLOURS.items())[:2]:
        (folder / "samples" / name).mkdir(parents=True, exist_ok=True)
        (folder / "samples" / name / "a.png").write_bytes(encode_png(colour))
    values = {**GOOD, "labels": list(COLOURS)[:2], **changes}
    kept = {key: value for key, value in values.items() if value is not None}
    (folder / "model.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
    return folder / "model.yaml"


def test_one_number_or_one_for_each_channel(tmp_path: Path):
    declared = load_declaration(write(tmp_path, multiply=0.5, add=[1, 2, 3]))
    assert isinstance(declared, Declaration)
    assert declared.interface.multiply == (0.5,)
    assert declared.interface.add == (1.0, 2.0, 3.0)
    assert (declared.recipe.multiply, declared.recipe.add) == (1.0, 0.0)  # what a recipe can't say, the graph does
    declared = load_declaration(write(tmp_path, multiply=0.5, add=-1))
    assert isinstance(declared, Declaration)
    assert declared.recipe.add == -1


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "My Model"}, "name: must be at most 40 lower-case"),
        ({"multiply": [1, 2]}, "multiply: must be one number, or one for each of three channels"),
        ({"multiply": 0}, "multiply: must not be 0"),
        ({"samples": "elsewhere"}, "samples: must be an existing folder"),
        ({"labels": ["a", "a"]}, r"labels: must be different names \(repeated: a\)"),
        ({"labels": ["a", "b"]}, "samples: .* has no images in subfolders named like the labels"),
    ],
)
def test_a_fault_names_its_setting(tmp_path: Path, changes: dict[str, object], fault: str):
    write(tmp_path, **changes)
    (tmp_path / "m.keras").write_bytes(b"")
    with pytest.raises(ConfigError, match=f"model.yaml: {fault}"):
        open_source(tmp_path / "m.keras")


def test_what_cannot_be_converted_is_listed(tmp_path: Path):
    (tmp_path / "weights.pt").touch()
    with pytest.raises(ConversionError, match=r"it is a directory with weights\.pt") as caught:
        open_source(tmp_path)
    assert caught.value.hint is not None
    assert "run.json" in caught.value.hint
    with pytest.raises(ConversionError, match=r"a file that ends in \.pt"):
        open_source(tmp_path / "weights.pt")
    with pytest.raises(ConversionError, match="it does not exist"):
        open_source(tmp_path / "nowhere")
    (tmp_path / "m.onnx").touch()
    with pytest.raises(ConversionError, match="needs a declaration"):
        open_source(tmp_path / "m.onnx")


@pytest.mark.parametrize("interface", [Interface(), Interface(logits="z")])
def test_outputs_nobody_declared_are_not_guessed(interface: Interface):
    with pytest.raises(ConversionError, match=r"(it has|outputs are) out"):
        interface.pick_outputs(["out"])
