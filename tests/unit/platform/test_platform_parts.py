"""What a platform gets of an app, and where its dead letters go."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.cli.app import build_site_app
from eaves.cli.project import Workspace, load_workspace
from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.local.client import LocalPlatform
from eaves.local.state import LocalApp
from eaves.platform import Platform, TriggerSpec
from knative.inventory import FunctionImage
from knative.platform import KnativePlatform
from knative.settings import ClusterApp, SiteSettings

IMAGE = FunctionImage(name="registry.test/flowers@sha256:" + "a" * 64)
SETTINGS = {
    "sources": [{"name": "inbox", "path": "inbox", "agent": "claim", "claim": "photos", "secret": "of-a-cluster"}],
    "triggers": [{"name": "hub", "url": "mqtt://hub/a", "mqtt": {"secret": "of-a-cluster", "spool_size": "3Gi"}}],
    "relay": {"to": "https://cloud.test", "secret": "of-a-cluster"},
}


def load(folder: Path) -> Workspace:
    (folder / "eaves.yaml").write_text(yaml.safe_dump({"name": "flowers", "data": {"path": "."}, **SETTINGS}))
    (folder / "inbox").mkdir()
    return load_workspace(folder / "eaves.yaml")


def test_a_cluster_is_reported_all_of_eaves_yaml_and_no_folder_of_this_machines_artifacts(tmp_path: Path):
    app = build_site_app(load(tmp_path).project, IMAGE, SiteSettings(name="barn"))
    assert app.image == IMAGE.name
    assert not hasattr(app.function, "artifact")
    assert app.sources[0].claim == "photos"
    assert app.relay.secret == app.triggers[1].mqtt.secret == "of-a-cluster"


def check_types(here: LocalPlatform, there: KnativePlatform, local: LocalApp, cluster: ClusterApp) -> None:
    """What mypy refuses: it tells of an ignored error that is none any more, so these lines can't become right."""
    _: tuple[Platform[LocalApp], Platform[ClusterApp]] = (here, there)
    here.deploy(cluster)  # type: ignore[arg-type]
    there.deploy(local)  # type: ignore[arg-type]


def trigger(sink: str, **values: Any) -> TriggerSpec:
    given = {"name": "hub", "delivery": {"dead_letter_sink": sink}, **values}
    return build(TriggerSpec, SettingsLayer(origin="eaves.yaml", values=given))


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ("mqtt://user:secret@broker/topic", r"dead_letter_sink: must be an address .*\*\*\*@broker"),
        ("Not a name", "dead_letter_sink: must be an address"),
        ("hub", "delivery.dead_letter_sink: can't be the trigger itself"),
    ],
)
def test_what_a_sink_can_not_be(sink: str, message: str):
    with pytest.raises(ConfigError, match=message):
        trigger(sink)
