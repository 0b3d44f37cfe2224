"""The short check of attributes refuses what the SDK's own validation refuses, and nothing else."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from eaves import cloudevents_sdk
from eaves.errors import EventError

GOOD = {"id": "1", "source": "/eaves/here/camera", "type": "t", "specversion": "1.0"}
TEXT = st.sampled_from(["", "x", "image/png"])


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(["id", "subject", "dataschema", "datacontenttype", "zone", "data", "Zone", "a b"], TEXT),
            "specversion": st.sampled_from(["1.0", "0.3", ""]),
            "time": st.just(datetime(2026, 11, 26, tzinfo=UTC)),
        },
    )
)
def test_names_and_emptiness_decide(changes: dict[str, Any]):
    attributes = {**GOOD, **changes}
    fault = ""
    try:
        cloudevents_sdk.validate(attributes, b"")
    except EventError as error:
        fault = error.message
    for _ in range(2):  # what is remembered of the names says the same
        found = ""
        try:
            cloudevents_sdk.check(attributes)
        except EventError as error:
            found = error.message
        assert found == fault
