"""Parser of a certificate's period of validity.

The standard library can't read the period of the server's own certificate.
"""

from __future__ import annotations

import datetime
import ssl

SEQUENCE, INTEGER, VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0x02, 0xA0, 0x17, 0x18
"""Tags in DER. Source: RFC 5280, section 4.1; X.690, section 8."""
_END = "-----END CERTIFICATE-----"


def read_validity(pem: str) -> tuple[float, float] | None:
    """Return begin and end of the first certificate in a PEM file, Unix seconds; None when it can't be read.

    Args:
        pem: Text of the file.
    """
    begin, end = pem.find("-----BEGIN CERTIFICATE-----"), pem.find(_END)
    if begin < 0 or end < begin:
        return None
    try:
        der = ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_END)])
        certificate, _ = _enter(der, SEQUENCE)
        fields, _ = _enter(certificate, SEQUENCE)
        if fields[:1] == bytes([VERSION]):
            fields = _skip(fields)
        for tag in (INTEGER, SEQUENCE, SEQUENCE):  # serial number, algorithm, issuer
            _, fields = _enter(fields, tag)
        validity, _ = _enter(fields, SEQUENCE)
        return _read_time(validity), _read_time(_skip(validity))
    except (ValueError, IndexError):
        return None


def _enter(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the DER value with this tag that `data` begins with, and the bytes after the value."""
    if data[0] != tag:
        raise ValueError(f"tag {data[0]:#x} instead of {tag:#x}")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start])
    return data[start : start + length], data[start + length :]


def _skip(data: bytes) -> bytes:
    return _enter(data, data[0])[1]


def _read_time(data: bytes) -> float:
    """Parse a time. Source: RFC 5280, section 4.1.2.5: two digits of a year below 50 are of this century."""
    tag = data[0]
    text = _enter(data, tag)[0].decode("ascii")
    if tag == UTC_TIME:
        text = f"{'20' if int(text[:2]) < 50 else '19'}{text}"
    elif tag != GENERALIZED_TIME:
        raise ValueError("not a date and time")
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC).timestamp()
