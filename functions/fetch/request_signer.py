"""Signs the function's requests for datarefs in private buckets, by the S3 API (AWS Signature Version 4).

Presigned URLs can't replace this: they expire after seven days at most, and an event may wait for longer than that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from eaves.credentials.aws_signature import sign_get
from eaves.credentials.folder import read_aws_keys, read_credentials
from eaves.errors import ClaimDeniedError, ConfigError
from functions.fetch.url_policy import is_presigned

DEFAULT_REGION = "us-east-1"
"""Region of hosts whose name has none, such as a MinIO server with its default settings."""
_REGION = re.compile(r"(?:^|\.)s3[.-](?:fips[.-])?(?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.")
"""Pattern of the region in the name of an S3 host. Source: AWS General Reference, Amazon S3 endpoints and quotas; other
providers use the same form."""


class RequestSigner:
    """Signs GET requests with the keys in a folder, which are read at each request.

    Args:
        folder: Folder with the files `access_key`, `secret_key` and, for temporary keys, `session_token`; perhaps with
            `ca.crt`, certificate authorities to trust in addition to the system's.
        region: Region of the buckets; empty to find it in the host's name.
        now: Function that returns the time.
    """

    def __init__(
        self, folder: Path, *, region: str = "", now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._folder = folder
        self._region = region
        self._now = now

    def sign(self, url: str) -> Mapping[str, str]:
        """Return the headers that sign a GET request; none for a URL that carries its own signature.

        Raises:
            ClaimDeniedError: When the keys can't be read.
        """
        if is_presigned(urlsplit(url).query):
            return {}
        try:
            keys = read_aws_keys(self._folder)
        except ConfigError as error:  # for example a Secret that is being renewed
            raise ClaimDeniedError(f"the function's keys can't be used: {error.message}", hint=error.hint) from error
        if keys is None:
            raise ClaimDeniedError(
                f"the folder {self._folder} has no files access_key and secret_key",
                hint="put the files access_key and secret_key into the folder that dataref_credentials names",
            )
        region = self._region or find_region(urlsplit(url).hostname or "")
        return sign_get(url, keys=keys, region=region, at=self._now())

    def read_authorities(self) -> str:
        """Return the certificate authorities in the file `ca.crt`, as PEM; empty without such a file.

        Raises:
            ClaimDeniedError: When the file can't be read.
        """
        try:
            return read_credentials(self._folder).authorities_pem
        except ConfigError as error:
            raise ClaimDeniedError(f"the function's keys can't be used: {error.message}", hint=error.hint) from error


def find_region(host: str) -> str:
    """Return the region that the name of an S3 host contains; the default region when it contains none."""
    found = _REGION.search(host.lower())
    return found[1] if found else DEFAULT_REGION
