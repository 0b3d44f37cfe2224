"""Who may open the console, and what a browser may do with its pages.

settings      the address that the console listens on, and what it therefore needs
files         password and certificate that are created when they are missing
credentials   the password and the token, read again when their files change
signing_key   key that signs sessions and form tokens
sessions      the signed cookie of a person who has logged in
logouts       sessions that ended before they expired
origins       requests that a page of another site may have sent
rate_limit    limit of failed logins
marks         properties of views, declared next to the view
headers       headers of every response
refusals      responses to requests that are refused, such as the way to the login form
guard         checks every request, form tokens included, and completes every response

On loopback no password is needed, as everything else of `eaves up` on loopback. A server off loopback needs TLS and a
password. No header of a proxy is trusted: TLS ends in the console.
"""

from eaves.console.security.files import prepare_credentials
from eaves.console.security.guard import Guard, install_security
from eaves.console.security.marks import Mark, marked
from eaves.console.security.settings import LOOPBACK, SecuritySettings, check_exposure

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
