import pytest
from pathlib import Path
@pytest.fixture(scope="session")
def tiny_artifact() -> Path:
    return Path("/tmp/d/art1")
