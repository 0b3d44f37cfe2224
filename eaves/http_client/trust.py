"""Which certificate authorities TLS trusts: the system's, and those that a caller adds."""

from __future__ import annotations

import re
import ssl

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that a child process needs in order to trust the same authorities; OpenSSL reads them."""
_CERTIFICATE = re.compile(
    r"-----BEGIN (?P<kind>(?:X509 )?CERTIFICATE)-----[A-Za-z0-9+/=\s]+-----END (?P=kind)-----",
)


def build_tls_context(ca_certs_pem: str = "") -> ssl.SSLContext:
    """What a TLS client trusts: the system's authorities, and these beside them.

    The system's are OpenSSL's defaults, which the environment variables SSL_CERT_FILE and SSL_CERT_DIR replace, as in
    curl and Go. What a caller gives is added and replaces nothing, as Knative's SDK does with K_CA_CERTS: one sink
    may have a certificate of the cluster's authority and another one of a public authority.

    Source: knative/eventing, pkg/eventingtls/eventingtls.go, certPool; SSL_CTX_set_default_verify_paths(3).

    Args:
        ca_certs_pem: Certificates as PEM, anything between them is left out; empty adds none.

    Raises:
        ValueError: When the text holds no certificate that can be read.
    """
    context = ssl.create_default_context()
    # As in Go, and in Python from 3.13 on: an authority that is trusted needn't be the root of its chain.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_certs_pem:
        blocks = [found[0] for found in _CERTIFICATE.finditer(ca_certs_pem)]
        if not blocks:
            raise ValueError("there is no certificate in PEM form in it")
        try:
            context.load_verify_locations(cadata="\n".join(blocks))
        except ssl.SSLError as error:
            raise ValueError(f"a certificate in it can't be read: {error}") from error
    return context
