"""The contract's suite on a real cluster."""

import pytest

from tests.contract.test_platform import *  # noqa: F403 - the whole suite

pytestmark = pytest.mark.timeout(900)
