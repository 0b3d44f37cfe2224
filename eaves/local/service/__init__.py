"""The systemd service that starts the local platform at boot: its unit file, and its installation.

The package writes one unit file and runs systemctl where systemd runs. It never starts the platform by itself.
"""

from eaves.local.service.account import Account, acting_as, can_run, owner_of
from eaves.local.service.installation import Manager, choose_manager, install, is_booted, uninstall
from eaves.local.service.unit import ServiceUnit

__all__ = [
    "Account",
    "Manager",
    "ServiceUnit",
    "acting_as",
    "can_run",
    "choose_manager",
    "install",
    "is_booted",
    "owner_of",
    "uninstall",
]
