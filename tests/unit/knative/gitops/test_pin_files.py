"""Pins in a folder of rendered files, over the revisions that its Service goes through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from knative.gitops.gitops_files import change_traffic, write_gitops
from knative.resources.rendering import render_app
from knative.settings import KnativeSettings, SiteSettings
from tests.cluster.apps import IMAGE, plain_app

IMAGES = [IMAGE, *("registry.example/barn/flowers@sha256:" + f"{number:08x}" + "e" * 56 for number in range(1, 5))]
SITE = SiteSettings(name="barn", namespace="cams")


def render(folder: Path, image: str, *, pin: bool = True, **env: str) -> None:
    app = plain_app(image=image, env=env)
    write_gitops(render_app(app, KnativeSettings(pin=pin), SITE), folder)


def pins(folder: Path) -> dict[str, int]:
    """Container image to the number of revisions that its pin is for."""
    found = {}
    for path in folder.glob("*-daemonset-*.yaml"):
        pin: dict[str, Any] = yaml.safe_load(path.read_text())
        image = pin["spec"]["template"]["spec"]["containers"][0]["image"]
        found[image] = len(pin["metadata"]["annotations"]["eaves.dev/revisions"].split(","))
    return found


def test_what_the_file_serves_stays_pinned_until_what_replaces_it_is_replaced(tmp_path: Path) -> None:
    render(tmp_path, IMAGES[0])
    assert pins(tmp_path) == {IMAGES[0]: 1}
    render(tmp_path, IMAGES[1])
    assert pins(tmp_path) == {IMAGES[0]: 1, IMAGES[1]: 1}
    change_traffic(tmp_path, "promote", None)
    render(tmp_path, IMAGES[1])
    assert pins(tmp_path) == {IMAGES[0]: 1, IMAGES[1]: 1}, "a rollback returns to it"
    render(tmp_path, IMAGES[2])
    assert pins(tmp_path) == {IMAGES[1]: 1, IMAGES[2]: 1}


def test_many_renderings_leave_the_pins_of_what_serves_and_of_the_newest(tmp_path: Path) -> None:
    for image in IMAGES:
        render(tmp_path, image)
    assert pins(tmp_path) == {IMAGES[0]: 1, IMAGES[4]: 1}


def test_two_revisions_of_a_container_image_share_its_pin(tmp_path: Path) -> None:
    render(tmp_path, IMAGES[0])
    render(tmp_path, IMAGES[0], EAVES_LOG_LEVEL="debug")
    assert pins(tmp_path) == {IMAGES[0]: 2}
    render(tmp_path, IMAGES[1], EAVES_LOG_LEVEL="debug")
    assert pins(tmp_path) == {IMAGES[0]: 1, IMAGES[1]: 1}


def test_no_other_file_gets_another_name_for_a_pin_that_stays(tmp_path: Path) -> None:
    render(tmp_path, IMAGES[0])
    before = {path.name for path in tmp_path.iterdir() if "daemonset" not in path.name}
    render(tmp_path, IMAGES[1])
    assert {path.name for path in tmp_path.iterdir() if "daemonset" not in path.name} == before


def test_without_the_setting_all_go(tmp_path: Path) -> None:
    render(tmp_path, IMAGES[0])
    render(tmp_path, IMAGES[1], pin=False)
    assert pins(tmp_path) == {}
