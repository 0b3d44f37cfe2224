"""Every block of commands that takes seconds, run as its page has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks.script import Script, build_scripts
from tests.docs.blocks.suite import run_here

pytestmark = pytest.mark.disk  # below /dev, where tests have files in memory, a page's video file is a device

SCRIPTS = build_scripts("local")
EXPECTED: dict[str, tuple[str, ...]] = {
    "README.md": (
        r"parity: probabilities of the (int8|fp32) model differ from the trained model's by at most \S+;",
        r"the artifact holds the (int8|fp32) model: int8 \w+",
        r"image\.captured\.v1",
        r"image\.classified\.v1",
        r"accuracy [01]\.\d+ \(.* with 95 % confidence\) on \d+ images",
    ),
    "docs/00-factory.md": (
        r"accuracy",
        r"image\.classified\.v1",
        r'<p class="label">(daisy|dandelion|roses|sunflowers|tulips)</p>',
        r'"label": ?"',
        r"wrote /\S+/\.config/systemd/user/eaves-flowers\.service",
        r"loginctl enable-linger",
        r"removed /\S+/eaves-flowers\.service",
    ),
    "examples/display/README.md": (r'<p class="label">scratch &lt;b&gt;</p>',),
    "examples/classify/README.md": (r"photos/2/000.png +2 ", r'"label": "3"'),
    "examples/embed/README.md": (
        r"photos/disc/\S+ is like photos/disc/",
        r"photos/square/\S+ is like photos/square/",
        r"photos/stripes/\S+ is like photos/stripes/",
    ),
    "examples/handler/README.md": (r"frames/blue.raw +cold", r"frames/red.raw +hot +high"),
    "examples/tensor/README.md": (r"accuracy on unseen windows: (1.00|0.9)", r'"label": "(fair|good|poor)"'),
}
"""Texts that the scripts of each page print besides what the page quotes."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_a_page_runs_as_typed(script: Script, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    transcript = run_here(script, tmp_path, tmp_path_factory, timeout_s=280)
    missing = [pattern for pattern in EXPECTED.get(str(script), ()) if not re.search(pattern, transcript.text)]
    assert missing == [], transcript.text[-12_000:]
