"""What a client sees of an upstream's bytes, without a socket between: the relay driven as an exchange drives it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from streamproxy.dialects.base import Translator
from streamproxy.services.completion import Identity, TakenIds
from streamproxy.services.relay import Relay
from streamproxy.services.textevents import BYTES_A_TEXT
from streamproxy.wire.chat import Transcript
from tests.support.http import DONE, split_frames

IDENTITY = Identity("chatcmpl-st_ours", "asked-for", 1_700_000_000)
# What the exchange would have counted where the upstream does not say.
COUNTED = (3, 2)


@dataclass(frozen=True, slots=True)
class View:
    """A client's stream. *error* is the code of its error event, *usage* what the ledger would get."""

    body: bytes
    text: str
    reasoning: str
    finish_reason: str | None
    usage: tuple[int, int, int] | None
    error: str | None

    @property
    def frames(self) -> list[bytes]:
        return split_frames(self.body)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The values of all chunks, neither the error event nor the end mark."""
        return [value for value in self.values if "choices" in value]

    @property
    def values(self) -> list[dict[str, Any]]:
        """The values of all events but the end mark."""
        return [json.loads(frame[6:]) for frame in self.frames if frame != DONE]


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """*data* in pieces, cut at *places*."""
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:stop] for start, stop in itertools.pairwise(marks)]


def seen(
    batches: Sequence[bytes],
    *,
    include_usage: bool = False,
    translator: Translator | None = None,
    taken: Sequence[str] = (),
) -> View:
    """The view of a client when the upstream sends *batches* and ends; *taken* are ids of earlier completions."""
    ids = TakenIds()
    for name in taken:
        ids.take(name)
    relay = Relay(IDENTITY, include_usage=include_usage, taken_ids=ids, translator=translator)
    frames, said = [], Transcript()
    for batch in batches:
        frames.append(relay.feed(batch))
        if len(frames) % 2:
            relay.tell(said, frames[-1])
        else:
            relay.foretell(said, frames[-1])
            said.add(frames[-1])
        most = max(len(frames[-1]), BYTES_A_TEXT * frames[-1].count(b"\n\n"))
        assert Transcript(frames[-1]).read().text_bytes <= relay.size <= most
    # What the relay knew without reading is what reading finds.
    known, read = said.read(), Transcript(b"".join(frames)).read()
    assert (known.message(), known.finish_reason) == (read.message(), read.finish_reason)
    assert (known.chunks, known.unreadable) == (read.chunks, read.unreadable)
    relay.finish_input(finished=known.finish_reason is not None)
    frames.append(relay.ending(*COUNTED) if relay.failure is None else relay.failing(relay.failure))
    usage = relay.usage
    return View(
        body=b"".join(frames),
        text=known.text,
        reasoning=known.reasoning,
        finish_reason=known.finish_reason,
        usage=None if usage is None else (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens),
        error=None if relay.failure is None else relay.failure.code,
    )


def assert_family_a(view: View, *, include_usage: bool) -> None:
    """CONTRACTS A1: what holds for every stream, whatever the upstream was."""
    frames = view.frames  # raises at the first byte that is no frame of one data line
    assert frames[-1] == DONE
    assert frames.count(DONE) == 1
    chunks = view.chunks
    assert len({chunk["id"] for chunk in chunks}) <= 1
    assert all(isinstance(chunk["choices"], list) for chunk in chunks)
    errors = [value for value in view.values if "choices" not in value]
    assert [value["error"]["code"] for value in errors] == ([] if view.error is None else [view.error])
    told = [chunk for chunk in chunks if chunk.get("usage") is not None]
    if view.error is None and include_usage:
        assert told == chunks[-1:]
        assert told[0]["choices"] == []
    else:
        assert told == []
