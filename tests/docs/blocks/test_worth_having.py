"""The README's quick start and the factory page with real photos and a trained backbone: a model worth having.

`make test` runs the same commands with drawn photos and a small network.
"""

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.blocks.runner import build_environ, run_script
from tests.docs.blocks.script import Script, build_scripts
from tests.docs.blocks.suite import SHARED, prepare_loopback

FLOWERS = SHARED / "data/flowers/train"
PAGES = {"README.md", "docs/factory.md"}
SCRIPTS = [script for script in build_scripts("local") if script.page in PAGES and "pictures" in script.preparations]
MIN_ACCURACY = 0.8
"""Below what these photos reach with any split, far above 0.2, which is guessing."""


@pytest.mark.long("real photos are trained on")
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_real_photos_and_a_trained_backbone_make_a_model_worth_having(script: Script, tmp_path: Path):
    if not FLOWERS.exists():
        pytest.skip("the photos of ../shared are not here")
    folder, home = tmp_path / "reader", tmp_path / "home"
    home.mkdir()
    for label in FLOWERS.iterdir():
        (folder / "photos" / label.name).mkdir(parents=True)
        for photo in sorted(label.iterdir())[:100]:
            shutil.copy(photo, folder / "photos" / label.name)
    loopback = prepare_loopback()
    environ = build_environ(home, **loopback.environ)
    transcript = run_script(script, folder, environ=environ, values=loopback.values, timeout_s=3500)
    (accuracy,) = re.findall(r"^accuracy (\S+) \(.* on \d+ images$", transcript.text, flags=re.MULTILINE)
    assert float(accuracy) > MIN_ACCURACY, transcript.text
