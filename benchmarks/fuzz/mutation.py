"""Bytes made from a corpus by a seeded generator: the same seed and corpus give the same inputs."""

import random
from collections.abc import Sequence
from typing import Final

MOST_BYTES: Final = 60_000
TOKENS: Final = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\n",
    b'"',
    b"{}",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e400",
    b"NaN",
    b"-Infinity",
    b"9" * 30,
    b"9" * 5000,
    b"\\ud800",
    b"../../etc/passwd",
    b"\x1b[2J",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"[" * 3000,
    b'{"a":' * 3000,
)
"""What has broken readers elsewhere: limits of numbers, lone surrogates, byte order marks, deep nesting."""


def mutated(corpus: Sequence[bytes], chance: random.Random) -> bytes:
    """Return one to six mutations of an input of the corpus, at most MOST_BYTES long."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(data))
        length = min(1 << chance.randint(0, 9), len(data) - at)
        match chance.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(data):
                data[at] = chance.randrange(256)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = chance.choice(TOKENS)
            case 4:
                data[at : at + length] = chance.choice(TOKENS)
            case 5:
                data[at:at] = data[at : at + length]
            case _:
                other = chance.choice(corpus)
                begin = chance.randint(0, len(other))
                data[at:] = other[begin:]
    return bytes(data[:MOST_BYTES])
