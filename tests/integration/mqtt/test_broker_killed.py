"""A broker that is killed again and again while messages flow.

mosquitto acknowledges a message before it saves it, at the end of the same round of its loop, even with
autosave_interval 1. So each kill finds a few messages that their publisher believes safe and that are not on disk. They
reach a subscriber if they were sent to it before. Nobody can promise more for a raw message than its broker; a sender
that gives ids can send the last messages again after a lost connection, and each is one event all the same.
"""

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from eaves.errors import UnreachableError
from eaves.plugins.mqtt.connection import BrokerConnection
from eaves.plugins.mqtt.message import Publication
from tests.fakes.sources.source_context import RecordingContext
from tests.integration.mqtt.harness import connect_publisher, number_of, picture, run_source
from tests.processes.mosquitto import KEEPING_ALL, Mosquitto, run_mosquitto
from tests.waiting import wait_until

IN_FLIGHT = 8
TOPIC = "cameras/1"
UNSURE = 20
"""Messages that a careful sender sends again after a lost connection."""
SAVING_S = 0.25
"""What mosquitto takes at most to write its database in these tests: a message that was acknowledged so long before the
end of a save may not be in it."""
SIZES = [
    pytest.param(60, 2, id="60 messages, 2 kills"),
    pytest.param(2000, 20, marks=pytest.mark.slow, id="2,000 messages, 20 kills"),
]


class Sender:
    """Publishes each message until the broker has it.

    Args:
        connection: To the broker.
        count: How many.
        careful: Whether the last ones are sent again after a lost connection.

    Attributes:
        acknowledged_at: When the broker said that it has a message, Unix seconds.
        again: How many were sent more than once.
    """

    def __init__(self, connection: BrokerConnection, count: int, *, careful: bool) -> None:
        self.acknowledged_at: dict[int, float] = {}
        self.again = 0
        self._connection = connection
        self._count = count
        self._careful = careful

    def run(self) -> None:
        number = 0
        while number < self._count:
            properties = (("id", f"{number:05}"),)
            publication = Publication(topic=TOPIC, payload=picture(number), user_properties=properties)
            try:
                self._connection.publish(publication).result(30)
            except UnreachableError:
                wait_until(lambda: self._connection.session, 60, what="the sender's connection")
                back = max(0, number - UNSURE) if self._careful else number
                self.again += number - back + 1
                number = back
            else:
                self.acknowledged_at[number] = time.time()
                number += 1

    def find_unsaved(self, saved_at: float) -> set[int]:
        """Messages that were acknowledged, and that a broker killed now hasn't saved for sure."""
        return {number for number, at in list(self.acknowledged_at.items()) if at > saved_at - SAVING_S}


def kill_now_and_then(broker: Mosquitto, kills: int, count: int, sender: Sender, context: RecordingContext) -> set[int]:
    """Kill the broker at moments spread over all messages, and start it again; what it may have lost."""
    unsaved: set[int] = set()
    for kill in range(kills):
        reached = int((kill + 0.5) * count / kills)
        wait_until(lambda reached=reached: len(sender.acknowledged_at) >= reached, 600, what="progress")  # type: ignore[misc]
        wait_until(lambda kill=kill: context.reconnects >= kill, 60, what="our connection")  # type: ignore[misc]
        time.sleep(random.random() / 50)  # anywhere between two messages
        broker.stop()
        unsaved |= sender.find_unsaved(broker.database.stat().st_mtime)
        broker.start()
    return unsaved


def test_a_thread_that_hands_over_a_message_while_the_connection_ends_goes_on(broker: Mosquitto):
    """The connection's thread closes the pair of sockets by which it is woken, a moment before it ends."""
    with connect_publisher(broker.url) as connection:
        assert connection._client is not None
        assert connection._client._sockpairW is not None
        connection._client._sockpairW.close()
        answer = connection.publish(Publication(topic=TOPIC, payload=b"a", user_properties=()))
        assert answer.result(10).code < 0x80, "the connection has not ended here, so the message arrives"


@pytest.mark.long("a broker is killed again and again")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("count", "kills"), SIZES)
@pytest.mark.parametrize("identified", [True, False], ids=["with ids", "raw"])
def test_nothing_is_lost_and_ids_are_as_promised(tmp_path: Path, count: int, kills: int, identified: bool):
    context = RecordingContext("gate")
    with (
        run_mosquitto(tmp_path / "broker", (*KEEPING_ALL, "max_queued_messages 0")) as broker,
        run_source(broker.url, context, topics=(TOPIC,), in_flight=IN_FLIGHT, id_property="id" if identified else ""),
        connect_publisher(broker.url) as connection,
    ):
        sender = Sender(connection, count, careful=identified)
        thread = threading.Thread(target=sender.run)
        thread.start()
        unsaved = kill_now_and_then(broker, kills, count, sender, context)
        thread.join(600)
        wanted = set(range(count)) - (set() if identified else unsaved)
        wait_until(lambda: wanted <= {number_of(frame.data) for frame in context.frames}, 30, what="all messages")
        wait_until(lambda: context.reconnects >= kills, 30, what="a connection after each kill")
    ours = Counter(number_of(frame.data) for frame in context.frames)
    lost, repeats = set(range(count)) - set(ours), sum(ours.values()) - len(ours)
    found = (
        f"lost {sorted(lost)}, {repeats} repeats, {context.reconnects} connections made anew, {sender.again} sent again"
    )
    if identified:
        assert (sorted(ours), repeats) == (list(range(count)), 0), found
    else:
        assert lost <= unsaved, found
        # What the broker hadn't saved are our acknowledgements, too.
        assert repeats <= sender.again + IN_FLIGHT * context.reconnects + len(unsaved), found
