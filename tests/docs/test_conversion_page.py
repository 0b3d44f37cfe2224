"""Commands after a conversion of a model that others made; tests/docs/blocks runs those of docs/model.md#convert."""

from pathlib import Path

import pytest

from tests.cli import run_eaves
from tests.docs.blocks.foreign_models import FOREIGN_MODELS
from tests.docs.blocks.pages import all_blocks


@pytest.mark.long("a model of others is converted")
@pytest.mark.timeout(400)
def test_what_follows_a_conversion_asks_for_no_samples_and_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`eaves init` before the conversion names `convert`; after it, `deploy`, which wants the function at once."""
    monkeypatch.chdir(tmp_path)
    (declaration,) = [block for block in all_blocks() if block.marks.get("file") == "leaves.yaml"]
    FOREIGN_MODELS["leaves"](tmp_path)
    (tmp_path / "leaves.yaml").write_text(declaration.text)
    before = run_eaves("init", "--name", "leaves")
    assert "describe leaves.onnx in a model.yaml, then `eaves convert leaves.onnx`" in before.stderr
    (tmp_path / "eaves.yaml").unlink()
    converted = run_eaves("convert", "leaves.onnx", "--declare", "leaves.yaml")
    unknown = "its accuracy is not known; eaves evaluate ARTIFACT DATA measures it on labelled images"
    assert converted.stderr.splitlines()[-1].endswith(unknown)
    (tmp_path / "val").rename(tmp_path / "elsewhere")
    after = run_eaves("init", "--name", "leaves")
    assert after.stderr.strip() == "next: `eaves deploy`"
    run_eaves("verify", "artifacts/leaves")
    deployed = run_eaves("deploy")
    assert deployed.stdout.strip() == "leaves"
    assert "deployed; `eaves up` is not running here, so start it to run the function" in deployed.stderr
