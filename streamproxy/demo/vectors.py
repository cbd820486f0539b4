"""Embeddings without a model: the same text is always the same unit vector, and similar words are no nearer."""

from __future__ import annotations

import base64
import hashlib
import math
import struct

# Small, so that an answer can be read by eye.
DIMENSIONS = 16


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A point on the unit sphere, drawn from *text*."""
    drawn = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * dimensions)
    # Odd numbers, so that no vector is of length 0.
    values = [2 * number + 1 - 65_536 for number in struct.unpack(f">{dimensions}H", drawn)]
    length = math.sqrt(sum(value * value for value in values))
    return [round(value / length, 6) for value in values]


def packed(values: list[float]) -> str:
    """As ``encoding_format: base64`` has it: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
