"""Certificate authorities that TLS trusts: the system's, and those that a caller adds."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that a child process needs in order to trust the same authorities; OpenSSL reads them."""
_CERTIFICATE = re.compile(
    r"-----BEGIN (?P<kind>(?:X509 )?CERTIFICATE)-----[A-Za-z0-9+/=\s]+-----END (?P=kind)-----",
)


def build_tls_context(ca_certs_pem: str = "", certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """Build the TLS context of a client that trusts the system's authorities and the given ones.

    The system's authorities are OpenSSL's defaults, which the environment variables SSL_CERT_FILE and SSL_CERT_DIR
    replace, as in curl and Go. The caller's authorities are added and replace none, as Knative's SDK does with
    K_CA_CERTS: one sink may have a certificate of the cluster's authority and another sink one of a public authority.
    Source: knative/eventing, pkg/eventingtls/eventingtls.go, certPool; SSL_CTX_set_default_verify_paths(3).

    Args:
        ca_certs_pem: Certificates as PEM; text between them is ignored, and an empty string adds none.
        certificate: Paths of a client certificate and its private key, as PEM; None for none.

    Raises:
        ValueError: When the text or the files hold no certificate that can be read.
    """
    context = ssl.create_default_context()
    # As in Go, and in Python from 3.13 on, a trusted authority needn't be the root of its chain.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_certs_pem:
        blocks = [found[0] for found in _CERTIFICATE.finditer(ca_certs_pem)]
        if not blocks:
            raise ValueError("it contains no certificate in PEM form")
        try:
            context.load_verify_locations(cadata="\n".join(blocks))
        except ssl.SSLError as error:
            raise ValueError(f"it contains a certificate that can't be read: {error}") from error
    if certificate is not None:
        try:
            # A key with a passphrase fails here; otherwise OpenSSL would ask for it at the terminal.
            context.load_cert_chain(*certificate, password="")
        except OSError as error:
            raise ValueError(f"{certificate[0]} and its key can't be used: {error.strerror or error}") from error
    return context
