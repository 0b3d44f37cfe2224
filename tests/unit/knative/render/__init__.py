"""Unit tests of `knative/resources, rendered`."""

from typing import Any

import pytest

from eaves.errors import ConfigError
from knative.resources.rendering import render_app
from knative.settings import ClusterApp, KnativeSettings
from tests.cluster.apps import at_site, full_settings, plain_site


def find_faults(app: ClusterApp, settings: KnativeSettings | None = None, **changes: Any) -> dict[str, str]:
    """Return the message of each fault that keeps an app from being rendered, by its path."""
    with pytest.raises(ConfigError) as error:
        render_app(at_site(app, settings or full_settings(**changes), plain_site()))
    return {fault.path: fault.message for fault in error.value.faults}
