"""The location of a run when another run is already there."""

import json
from pathlib import Path

import pytest

from eaves.errors import RunError
from trainer.run.run_location import build_location


@pytest.mark.parametrize("uri", [False, True])
def test_the_run_of_another_training_is_refused_in_words_of_every_command(tmp_path: Path, uri: bool):
    """`--run` names the directory in `eaves train`, `--output` in `python -m trainer`."""
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"fingerprint": "of other images"}))
    place = f"file://{run}" if uri else str(run)
    with pytest.raises(RunError) as caught:
        build_location(place, tmp_path / "cache").find("of these images")
    assert caught.value.message == f"{place} holds a run of other images or settings"
    assert caught.value.hint == "name another directory for the run, or remove the existing one"
