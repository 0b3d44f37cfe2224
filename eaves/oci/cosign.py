"""Signing by the program `cosign`, which knows the keys' formats and the key services.

By default cosign sends signature, public key and the repository's name to a public transparency log. Here it doesn't:
an edge site can't reach such a log, and nothing leaves but what its owner sends.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from eaves.errors import OciError
from eaves.oci.reference import Reference
from eaves.oci.registry.transport import Access


def sign(reference: Reference, key: str, access: Access) -> None:
    """Sign a container image and each of its platforms' manifests, in the format of cosign 2.

    cosign asks for the key's password on the terminal, or takes it from COSIGN_PASSWORD, and reports on stderr.

    Args:
        reference: The container image, by digest.
        key: File of the private key, or the name of a key in a service that cosign knows.
        access: Connection settings of registries; cosign reads the same file with logins.

    Raises:
        OciError: When cosign isn't installed, or when it fails.
    """
    program = shutil.which("cosign")
    if program is None:
        raise OciError(
            "signing needs the program cosign, which is not installed",
            hint="install cosign 2 or 3: `apt install cosign`, or a release of sigstore/cosign",
        )
    command = [program, "sign", "--yes", "--recursive", "--tlog-upload=false", f"--key={key}"]
    known = subprocess.run([program, "sign", "--help"], capture_output=True, text=True, check=False).stdout
    if "--use-signing-config" in known:
        # cosign 3, which would write bundles: they don't sign the repository's name, and fewer verifiers read them.
        command += ["--new-bundle-format=false", "--use-signing-config=false"]
    if access.plain_http:
        command.append("--allow-http-registry")
    if access.authorities:
        command.append(f"--registry-cacert={access.authorities}")
    done = subprocess.run([*command, str(reference)], stdout=sys.__stderr__, check=False)
    if done.returncode:
        raise OciError(
            f"cosign did not sign {reference}; the lines above have its reason",
            hint="check the key, its password (COSIGN_PASSWORD), and your right to push to this repository",
        )
