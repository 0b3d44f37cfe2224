"""Who may open the console, and what a browser may do with its pages.

exposure  the address that the console listens on, what it therefore needs, and the files that are created for it
logins    the password, the limit of failed logins, the key that signs sessions, and those that ended early
headers   where a request comes from, as browsers say it, and the headers of every response
guard     checks every request, form tokens included, and completes every response

On loopback no password is needed, as everything else of `eaves up` on loopback. A server off loopback needs TLS and a
password. No header of a proxy is trusted: TLS ends in the console.
"""

from eaves.console.security.exposure import LOOPBACK, SecuritySettings, check_exposure, prepare_credentials
from eaves.console.security.guard import Guard, Mark, install_security, marked

__all__ = [
    "LOOPBACK",
    "Guard",
    "Mark",
    "SecuritySettings",
    "check_exposure",
    "install_security",
    "marked",
    "prepare_credentials",
]
