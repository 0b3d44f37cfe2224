"""A receiver's settings on the command line: where its queue lies, and faults by flag, with what helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from eaves.errors import ConfigError, Fault


def receiver_spool(state_dir: Path) -> Path:
    """The durable queue of a receiver that `eaves receiver run` runs, unless `--spool` says otherwise."""
    return state_dir / "receiver" / "receiver.db"


@contextmanager
def named_by_flag(hints: Mapping[str, str], *, default_origins: tuple[str, ...]) -> Iterator[None]:
    """Within the block, a fault of a setting that nobody gave names its flag, and the first with a hint gives it.

    Args:
        hints: Name of a setting to what helps.
        default_origins: Origins that say only that nobody gave it.

    Raises:
        ConfigError: In place of the one of the block.
    """
    try:
        yield
    except ConfigError as error:
        hint = error.hint or next((hints[fault.path] for fault in error.faults if fault.path in hints), None)
        raise ConfigError([_name(fault, default_origins) for fault in error.faults], hint=hint) from error


def _name(fault: Fault, default_origins: tuple[str, ...]) -> Fault:
    flag = f"--{fault.path.replace('_', '-')}"
    if fault.path and (fault.origin in default_origins or fault.origin == flag):
        return Fault(origin=flag, path="", message=fault.message)
    return fault
