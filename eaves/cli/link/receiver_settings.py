"""A receiver's settings on the command line: the path of its queue, and faults that name flags and hints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from eaves.errors import ConfigError, Fault


def receiver_spool(state_dir: Path) -> Path:
    """Return the default path of the durable queue of `eaves receiver run`."""
    return state_dir / "receiver" / "receiver.db"


@contextmanager
def named_by_flag(hints: Mapping[str, str], *, default_origins: tuple[str, ...]) -> Iterator[None]:
    """Re-raise a ConfigError of the block so that a required setting without a value is named by its flag.

    Args:
        hints: Name of a setting to a hint; the error gets the hint of the first fault whose setting has one.
        default_origins: Values of `Fault.origin` that mean that neither a flag nor a variable has set the setting.

    Raises:
        ConfigError: When the block raises one.
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
