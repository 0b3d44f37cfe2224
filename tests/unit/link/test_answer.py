"""An answer counts only when it accounts for every event that was sent."""

from __future__ import annotations

import pytest

from eaves.errors import DeliveryError
from eaves.link import BatchAnswer, RefusedEvent, parse_batch_answer

ANSWER = BatchAnswer(stored=2, repeated=1, refused=(RefusedEvent(index=3, status=403, detail="of another site"),))


def test_an_answer_is_read_as_it_was_written() -> None:
    assert parse_batch_answer(ANSWER.to_json(), 4) == ANSWER


@pytest.mark.parametrize("sent", [0, 3, 5])
def test_an_answer_to_another_batch_is_refused(sent: int) -> None:
    with pytest.raises(DeliveryError):
        parse_batch_answer(ANSWER.to_json(), sent)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in</html>",
        b"null",
        b'{"stored": true, "repeated": 0, "refused": []}',
        b'{"stored": -1, "repeated": 2, "refused": []}',
        b'{"stored": 0, "repeated": 0, "refused": [{"index": 1, "status": 400, "detail": ""}]}',
        b'{"stored": 0, "repeated": 0, "refused": [0, 0]}',
        b'{"stored": 0, "repeated": 0, "refused": [], "stored": 1}',
    ],
)
def test_what_is_no_answer_of_a_receiver_releases_nothing(body: bytes) -> None:
    with pytest.raises(DeliveryError, match="can't be used"):
        parse_batch_answer(body, 1)
