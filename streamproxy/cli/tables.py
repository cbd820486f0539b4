"""Tables for people: columns aligned, the first line names them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print *rows* under *head*; numbers stand right, everything else left."""
    lines = [head, *rows]
    texts = [[str(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    numeric = [len(lines) > 1 and isinstance(cell, int) for cell in lines[-1]]
    for line in texts:
        cells = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def date_of(epoch: float) -> str:
    """The UTC day of *epoch* (seconds)."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d")
