"""Who a process says it is to a broker or a camera: read from files, and never shown.

folder   a folder of files as Kubernetes mounts a Secret > Credentials
fill_in  an address with placeholders > the address that is asked
redact   text without what must not be shown
"""

from eaves.credentials.folder import Credentials, read_credentials
from eaves.credentials.placeholders import fill_in
from eaves.credentials.redact import has_secrets, redact

__all__ = ["Credentials", "fill_in", "has_secrets", "read_credentials", "redact"]
