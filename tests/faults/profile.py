"""How much of everything: a short profile for every run, and ``make soak``'s long one.

Random moments come from one seed, which a failing test prints and ``FAULTS_SEED`` sets again.
"""

from __future__ import annotations

import os
import random

LONG = "SOAK_EXAMPLES" in os.environ
SEED = int(os.environ.get("FAULTS_SEED", random.SystemRandom().randrange(1 << 30)))


def amount(*, short: int, long: int) -> int:
    """*short* in every run, *long* by hand."""
    return long if LONG else short
