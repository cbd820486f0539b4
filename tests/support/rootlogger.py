"""The root logger belongs to the whole test run: whoever sets it up in a test puts it back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def root_logger_kept() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level, ours = list(root.handlers), root.level, logging.getLogger("streamproxy").level
    yield root
    logging.getLogger("streamproxy").setLevel(ours)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
