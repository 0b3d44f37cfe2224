"""What a broker's reason codes mean for an entry of a queue whose retries never end.

Source: MQTT 5.0, section 3.4.2.1 (PUBACK Reason Code).
"""

from __future__ import annotations

import pytest

from eaves.delivery.response_rules import Blame, DeliveryAction, choose_action, find_blame
from eaves.plugins.mqtt.message import Acknowledgement
from eaves.plugins.mqtt.sink import build_answer


@pytest.mark.parametrize(
    ("code", "expected", "fault"),
    [
        (0x00, DeliveryAction.DONE, None),
        (0x10, DeliveryAction.DONE, None),  # no matching subscribers
        (0x80, DeliveryAction.RETRY, Blame.UNKNOWN),
        (0x87, DeliveryAction.REFUSED, Blame.WAY),  # not authorised
        (0x90, DeliveryAction.REFUSED, Blame.EVENT),  # topic name invalid
        (0x95, DeliveryAction.REFUSED, Blame.EVENT),  # packet too large
        (0x97, DeliveryAction.RETRY, Blame.LATER),  # quota exceeded
        (0x99, DeliveryAction.REFUSED, Blame.EVENT),  # payload format invalid
    ],
)
def test_each_reason_code_has_its_verdict(code: int, expected: DeliveryAction, fault: Blame | None) -> None:
    answer = build_answer(Acknowledgement(code=code, name="named"), broker="hub:1883", topic="plant/{label}")

    assert choose_action(answer.status) is expected
    if fault is not None:
        assert find_blame(answer.status, answer.body, is_receivers=answer.is_receivers) is fault
        assert answer.body.decode() == (
            f"the broker hub:1883 refuses a message to plant/{{label}}: named (MQTT reason code 0x{code:02x})"
        )
