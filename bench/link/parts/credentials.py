"""Creates the credentials for both ends of the link: the receiver's certificate, and the token of the site."""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Directories that contain the credentials of the experiment.

    Attributes:
        edge: Directory for the relay and the agent, with `token` and `ca.crt`.
        cloud: Directory for the receiver, with `tls.crt` and `tls.key`.
        sites: Directory for the receiver, with one file per site, which holds the token of the site.
    """

    edge: Path
    cloud: Path
    sites: Path


def make_credentials(folder: Path, site: str, hosts: tuple[str, ...]) -> Credentials:
    """Create a token and a self-signed certificate, write them to three directories, and return their paths.

    Args:
        folder: Directory in which the three directories are made.
        site: Name of the site.
        hosts: Addresses that the certificate is valid for.
    """
    made = Credentials(edge=folder / "edge", cloud=folder / "cloud", sites=folder / "sites")
    for one in (made.edge, made.cloud, made.sites):
        one.mkdir(parents=True)
    token = secrets.token_urlsafe(32)
    for path in (made.edge / "token", made.sites / site):
        path.write_text(token + "\n")
        path.chmod(0o600)
    certificate, key = _certificate(hosts)
    (made.edge / "ca.crt").write_bytes(certificate)
    (made.cloud / "tls.crt").write_bytes(certificate)
    (made.cloud / "tls.key").write_bytes(key)
    (made.cloud / "tls.key").chmod(0o600)
    return made


def _certificate(hosts: tuple[str, ...]) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "experiment")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host)) for host in hosts])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private
