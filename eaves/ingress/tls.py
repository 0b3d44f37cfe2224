"""TLS of a server whose certificate is renewed while it runs."""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path

from eaves.base.files import Stamp, find_stamp
from eaves.credentials import AUTHORITIES, CERTIFICATE, KEY, build_fault, read_credentials
from eaves.errors import ConfigError

_log = logging.getLogger(__name__)


class ServerTls:
    """Certificate of a folder, and the authorities of clients' certificates.

    A changed file is used from the next connection on. A file that can't be used, for example one that is half written,
    is logged, and the last valid certificate stays in use until the file is changed again.

    Args:
        folder: Folder with `tls.crt` and `tls.key`; with `ca.crt`, clients may show a certificate that an authority in
            it has signed.

    Raises:
        ConfigError: When the files can't be used at the start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._signature = self._sign()
        self._context = build_context(folder)

    def context(self) -> ssl.SSLContext:
        """Return the TLS context for the next connection."""
        with self._lock:
            signature = self._sign()
            if signature != self._signature:
                self._signature = signature
                try:
                    self._context = build_context(self._folder)
                    _log.info("the certificate in %s was read again", self._folder)
                except ConfigError as error:
                    _log.error("%s; the certificate that was read before stays in use", error.message)
            return self._context

    def _sign(self) -> list[Stamp | None]:
        return [find_stamp(self._folder / name) for name in (CERTIFICATE, KEY, AUTHORITIES)]


def build_context(folder: Path) -> ssl.SSLContext:
    """Build a TLS context with the files of a folder.

    Raises:
        ConfigError: When the folder has no certificate, or one that can't be used.
    """
    credentials = read_credentials(folder)
    if credentials.certificate is None or credentials.key is None:
        raise build_fault(
            folder, f"contains no {CERTIFICATE} and {KEY}", "put the server's certificate and key there, in PEM form"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(credentials.certificate, credentials.key)
        if credentials.authorities_pem:
            context.load_verify_locations(cadata=credentials.authorities_pem)
            context.verify_mode = ssl.CERT_OPTIONAL
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        message = f"{CERTIFICATE}, {KEY} or {AUTHORITIES} can't be used: {error}"
        raise build_fault(folder, message, f"openssl x509 -in {folder / CERTIFICATE} -noout -subject -dates") from error
    return context
