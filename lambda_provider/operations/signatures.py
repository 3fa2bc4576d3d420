"""Who signed an archive: the signature file that AWS Signer puts into what it signs."""

from __future__ import annotations

import base64
import binascii
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

SIGNATURE_FILE = "META-INF/aws_signer_signature_v1.0.SF"
_LARGEST_SIGNATURE = 1 << 20

_PROFILE_VERSION = re.compile(
    rb"arn:aws[a-zA-Z-]*:signer:[a-z0-9-]+:\d{12}:/signing-profiles/[a-zA-Z0-9_]{2,64}(?:/[a-zA-Z0-9]{10})?"
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{40,}")


def trusted_profile(archive: Path, publishers: Iterable[str]) -> str | None:
    """The signing profile version by which an archive says to be signed, if that is one of `publishers`, else None.

    A publisher without a version stands for all versions of its profile. What is checked is that the archive carries AWS
    Signer's signature file and that the file names the profile, plainly or inside its base64 parts; the signature's
    cryptography, its expiry and revocations are known to AWS alone and are not checked.
    """
    allowed = tuple(publishers)
    for arn in _profiles(_signature(archive)):
        if any(arn == publisher or arn.startswith(f"{publisher}/") for publisher in allowed):
            return arn
    return None


def _signature(archive: Path) -> bytes:
    with zipfile.ZipFile(archive) as opened:
        try:
            with opened.open(SIGNATURE_FILE) as stream:
                return stream.read(_LARGEST_SIGNATURE)
        except KeyError:
            return b""


def _profiles(signature: bytes) -> Iterator[str]:
    yield from (match.decode() for match in _PROFILE_VERSION.findall(signature))
    for encoded in _BASE64.findall(signature):
        try:
            decoded = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_")
        except binascii.Error:
            continue
        yield from (match.decode() for match in _PROFILE_VERSION.findall(decoded))
