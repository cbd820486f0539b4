"""What a stranger's connection may cost: seconds, bytes. Both servers keep to them."""

from __future__ import annotations

# Above nginx's upstream keepalive_timeout (5 s here), or nginx would reuse a connection that is just closing.
IDLE_SECONDS = 75.0
BODY_SECONDS = 30.0
# A client that takes nothing of an answer for so long is closed.
WRITE_SECONDS = 30.0
MAX_HEADER_SIZE = 16384
# A body longer than that is refused with 400 before any handler may say 413; handlers choose a bound of their own.
MAX_BODY_SIZE = 8 << 20
# What may wait behind a running request before the client's socket is no longer read.
MAX_UNREAD = 64 * 1024
# What an answer may have waiting that the socket has not taken; then its writer is told to wait.
MAX_UNSENT = 64 * 1024
# How often a client whose socket is not read is asked whether it is still there.
PULSE_SECONDS = 10.0
# What is written in one turn of the loop is sent together at its end; more than that at once.
MOST_TOGETHER = 16 * 1024
