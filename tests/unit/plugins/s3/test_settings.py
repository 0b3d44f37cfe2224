"""Settings of a bucket, and what a cluster learns from them."""

import json
from typing import Any

import pytest

from eaves.errors import ConfigError
from eaves.sources.agent.configuration import parse_sources
from eaves.sources.settings import AgentSettings


def parse(**values: Any) -> Any:
    source = {"name": "shop", "kind": "s3", "bucket": "s3://photos/gate/", **values}
    return parse_sources(AgentSettings(sources=json.dumps([source])))[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bucket": "photos"}, "sources[0].bucket: must be the address of a bucket, such as s3://photos/gate/"),
        ({"endpoint": "minio:9000"}, "sources[0].endpoint: must be http://HOST:PORT"),
        ({"region": "a b"}, "sources[0].region: must be the name of a region"),
    ],
)
def test_a_fault_is_reported_with_the_path_of_its_setting(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        parse(**values)
    assert message in str(caught.value)


def test_the_doctor_tests_the_connections_to_the_store():
    source = parse(endpoint="http://minio.site:9000")
    assert list(source.kind.addresses(source.settings)) == [
        "minio.site:9000",
    ]
    assert list(parse().kind.addresses(parse().settings)) == ["tls://photos.s3.us-east-1.amazonaws.com:443"]
