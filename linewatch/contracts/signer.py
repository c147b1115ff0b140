"""The public keys of those who sign engines, as configurations name them."""

import base64
import hashlib
from typing import Annotated, Final

from pydantic import AfterValidator

SIGNER_PREFIX: Final = "ed25519:"
_PUBLIC_BYTES: Final = 32


def checked_signer(text: str) -> str:
    """Return the public key of a signer, as text. Raises ValueError."""
    try:
        if not text.startswith(SIGNER_PREFIX):
            raise ValueError
        if len(base64.b64decode(text.removeprefix(SIGNER_PREFIX), validate=True)) != _PUBLIC_BYTES:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{text[:80]!r} is no public key of a signer, expected {SIGNER_PREFIX} and 44 characters of base64, as "
            "`linewatch engine new-key` prints it"
        ) from None
    return text


Signer = Annotated[str, AfterValidator(checked_signer)]
"""The public key of whoever signs engines, as text."""


def fingerprint(signer: str) -> str:
    """Return the short name of a signer in lists and errors: 16 hex digits of the SHA-256 of its public key."""
    return hashlib.sha256(base64.b64decode(signer.removeprefix(SIGNER_PREFIX))).hexdigest()[:16]
