"""The contract's suite on a real cluster."""

from __future__ import annotations

import pytest

from tests.contract.test_platform import *  # noqa: F403 - the whole suite

pytestmark = pytest.mark.timeout(900)
