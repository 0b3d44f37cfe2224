"""Settings that only one platform needs of an app don't reach the other platform."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from eaves.cli.app import build_local_app, build_site_app
from eaves.cli.project import Workspace, load_workspace
from eaves.local.client import LocalPlatform
from eaves.local.specs import LocalApp
from eaves.platform import Platform, SourceSpec
from knative.deploy.function_image import FunctionImage
from knative.platform import KnativePlatform
from knative.resources.sources import find_runner
from knative.settings import SiteSettings
from knative.specs import ClusterApp
from tests.fakes.models.artifact import write_colours

IMAGE = FunctionImage(name="registry.test/flowers@sha256:" + "a" * 64)
OF_CLUSTERS = ("agent", "claim", "secret", "spool_size")
SETTINGS = {
    "sources": [{"name": "inbox", "path": "inbox", "agent": "claim", "claim": "photos", "secret": "of-a-cluster"}],
    "triggers": [{"name": "hub", "url": "mqtt://hub/a", "mqtt": {"secret": "of-a-cluster", "spool_size": "3Gi"}}],
    "relay": {"to": "https://cloud.test", "secret": "of-a-cluster"},
}


def load(folder: Path) -> Workspace:
    (folder / "eaves.yaml").write_text(yaml.safe_dump({"name": "flowers", "data": {"path": "."}, **SETTINGS}))
    (folder / "inbox").mkdir()
    return load_workspace(folder / "eaves.yaml")


def test_a_spec_file_holds_nothing_that_only_a_cluster_needs(tmp_path: Path) -> None:
    app = build_local_app(load(tmp_path), write_colours(tmp_path / "artifact"))
    written = app.to_dict()
    assert "of-a-cluster" not in json.dumps(written)
    assert set(written["sources"][0]) == {"name", "kind", "options", "through"}
    assert "image" not in written["function"]
    assert not set(OF_CLUSTERS) & set(written["triggers"][1]["mqtt"])
    assert "secret" not in written["relay"]
    assert written["relay"]["spool_size"] == "2Gi", "the relay here has one, too"


def test_a_cluster_is_reported_all_of_eaves_yaml_and_no_folder_of_this_machines_artifacts(tmp_path: Path) -> None:
    app = build_site_app(load(tmp_path).project, IMAGE, SiteSettings(name="barn"))
    assert app.function.image == IMAGE.name
    assert not hasattr(app.function, "artifact")
    assert app.sources[0].claim == "photos"
    assert app.relay.secret == app.triggers[1].mqtt.secret == "of-a-cluster"


def check_types(here: LocalPlatform, there: KnativePlatform, local: LocalApp, cluster: ClusterApp) -> None:
    """What mypy refuses: it tells of an ignored error that is none any more, so these lines can't become right."""
    _: tuple[Platform[LocalApp], Platform[ClusterApp]] = (here, there)
    here.deploy(cluster)  # type: ignore[arg-type]
    there.deploy(local)  # type: ignore[arg-type]
    find_runner(SourceSpec())  # type: ignore[arg-type]
