"""Settings, and the ends of images."""

from __future__ import annotations

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.sources.http.client import has_end
from eaves.sources.http.kind import HttpSourceSettings
from tests.inputs import hostile


def settings(url: str) -> HttpSourceSettings:
    return build(HttpSourceSettings, SettingsLayer(origin="eaves.yaml", values={"url": url}))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cam/snap.jpg",
        "http://",
        "http://cam:99999/",
        "http://cam/a b",
        "http://c\r\nX: y/",
    ],
)
def test_a_url_that_is_none_is_a_fault_that_does_not_show_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"eaves.yaml: url: must be an http") as caught:
        settings(url)
    assert "99999" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
def test_half_an_image_has_no_end(kind: str) -> None:
    data = hostile.encode(hostile.noise(300, 200), kind)
    assert has_end(data)
    assert has_end(data + bytes(2_000))
    if kind != "GIF":  # whose end mark may be anywhere in its data
        assert not has_end(data[: len(data) // 2])
