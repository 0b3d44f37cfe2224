"""A site that gets another name while its relay holds events under the one before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eaves.cli.link.site_name import warn_of_waiting
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.local.specs import LocalApp, LocalFunction
from eaves.local.state import StateDirectory
from eaves.platform import RelaySpec
from eaves.relay.relay_lanes import ARCHIVE
from eaves.spool import Spool

APP = LocalApp(
    function=LocalFunction(name="flowers", site="home", artifact=Path("/a")),
    relay=RelaySpec(to="https://cloud.example:8443"),
)
RENAMED = replace(APP, function=replace(APP.function, site="mill"))


def test_events_that_wait_under_the_former_name_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = StateDirectory(root=tmp_path / "s")
    warn_of_waiting(state.root, RENAMED)
    state.write_spec(APP)
    warn_of_waiting(state.root, RENAMED)
    with Spool(state.spool_of("flowers", "relay")) as spool:
        warn_of_waiting(state.root, APP)
        spool.put(Event(id="1", source="/eaves/home/flowers", type=IMAGE_CLASSIFIED), lanes=[ARCHIVE])
    warn_of_waiting(state.root, APP)
    assert capsys.readouterr().err == ""
    warn_of_waiting(state.root, RENAMED)
    reported = capsys.readouterr().err
    assert "warning: the relay holds 1 event of site home; the receiver refuses them from site mill" in reported
    assert "deploy with `site: home` and the token of home" in reported
