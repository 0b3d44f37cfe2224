"""What a disk refuses becomes one error, whichever library reports it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from eaves.base.disk_errors import disk_errors
from eaves.errors import ConfigError, ConversionError, Fault, StoppedError, StorageError
from tests.disks import FILL, run_on_disk

pytestmark = pytest.mark.disk


def test_a_full_disk_is_named_with_what_is_left(tmp_path: Path) -> None:
    reported = rf"the disk that holds {tmp_path}/run is full: .* MB are left"
    with pytest.raises(StorageError, match=reported) as caught, disk_errors(tmp_path / "run"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.exit_code == 74
    assert "free space" in (caught.value.hint or "")


def test_a_library_that_hides_the_cause_is_understood(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is full"), disk_errors(tmp_path):
        raise RuntimeError("{{function_node SaveV2}} model/variables; No space left on device")
    with pytest.raises(StorageError, match="is full"), disk_errors(tmp_path):
        raise ConversionError("onnx can't be written") from OSError(errno.ENOSPC, "No space left on device")


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    for error in (ValueError("broken"), ConversionError("refused"), StoppedError("stopped"), ConnectionError("lost")):
        with pytest.raises(type(error)) as caught, disk_errors(tmp_path):
            raise error
        assert caught.value is error
    ours = ConfigError([Fault(origin="a", path="b", message="No space left on device")])
    with pytest.raises(ConfigError), disk_errors(tmp_path):
        raise ours


def test_init_on_a_full_disk(tmp_path: Path) -> None:
    done = run_on_disk(["-m", "eaves.cli", "init", "--name", "parts"], tmp_path, before=FILL)
    assert done.returncode == 74, done.stderr
    assert "eaves.yaml is full" in done.stderr or "is full: 0.0 of 1.0 MB are left" in done.stderr
    assert "Traceback" not in done.stderr
