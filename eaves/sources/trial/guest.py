"""Settings with which a person's command reads a source without disturbing an agent that reads the same source."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

SESSION_S = 60
"""Time for which an MQTT broker keeps the session of a guest, seconds; the minimum of the setting."""
_SHARED = re.compile(r"\$share/[^/]+/")


def find_guest_settings(settings: Mapping[str, Any], *, command: str, site: str) -> dict[str, Any]:
    """Return the settings of a source that a guest must replace.

    An MQTT broker disconnects a client when another one connects with its client id, and keeps messages for the session
    of a known client id. So a guest has a random client id, and its session expires after a minute. A shared
    subscription gives each message to one client of its group only, so a guest subscribes to the topics themselves. A
    queue gives each notification of a bucket to one reader, and a port of a webhook has one listener; a guest of a
    bucket only lists its keys.

    Args:
        settings: Settings of the source, as in eaves.yaml.
        command: Name of the command, which becomes part of the client id.
        site: Name of the site.
    """
    if settings.get("kind") == "s3":
        return {"webhook_port": 0, "queue": "", "start": "all"}
    if settings.get("kind") != "mqtt":
        return {}
    name = f"eaves-{command}-{site}-{settings.get('name', '')}-{secrets.token_hex(4)}"
    topics = settings.get("topics", ())
    listed = topics.split(",") if isinstance(topics, str) else topics
    own = [_SHARED.sub("", str(topic).strip(), count=1) for topic in listed]
    return {"client_id": name, "session_expiry_s": SESSION_S, **({"topics": own} if own else {})}
