"""What becomes of a publication that can't be handed to the connection."""

from __future__ import annotations

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from eaves.errors import DeliveryError, UnreachableError
from eaves.mqtt.client import BoundedClient
from eaves.mqtt.message import Publication
from eaves.mqtt.publications import Publications

MESSAGE = Publication(topic="a", payload=b"")


def test_a_publication_whose_packet_id_is_in_use_fails_and_leaves_the_other_alone() -> None:
    """65,535 messages without an answer use all packet ids."""
    client = BoundedClient(client_id="x", protocol=MQTTProtocolVersion.MQTTv5, max_packet_bytes=1000, session=False)
    publications = Publications()
    first = publications.send(client, MESSAGE, with_properties=True)
    client._last_mid = 0  # the next packet id is the first one's
    second = publications.send(client, MESSAGE, with_properties=True)
    assert second is not first
    with pytest.raises(DeliveryError, match="too many messages") as caught:
        second.result(0)
    assert not isinstance(caught.value, UnreachableError)
    assert not first.done()
    publications.end()
    with pytest.raises(UnreachableError):
        first.result(0)
