"""Tokens as tiktoken counts them, without ever touching the network.

The rank tables of cl100k_base and o200k_base are shipped in ``streamproxy/encodings``; a folder in
``TIKTOKEN_CACHE_DIR`` is read instead when that variable is set. A table that is not there, or fails
tiktoken's own hash, is replaced by a cautious estimate, with one warning per encoding: clients choose the
model's name, so a name must not make this process download anything.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, takewhile
from pathlib import Path
from string import ascii_letters
from typing import Any, TypeVar

import tiktoken
from tiktoken.load import check_hash
from tiktoken.model import encoding_name_for_model

from streamproxy.domain.sessions import Message
from streamproxy.domain.tokens import TextsCounter, messages_size, only_texts, text_length, texts_size

log = logging.getLogger(__name__)

T = TypeVar("T")

SHIPPED = Path(__file__).with_name("encodings")
DEFAULT_ENCODING = "o200k_base"
# Counting 20 kB takes about 5 ms; what is longer would be felt by every other stream of the worker.
LONG_TEXT = 20_000
# A million spaces in one piece make tiktoken 0.14 panic (its pattern runs out of stack), 500,000 do not.
_SLICE = 65_536
# Models whose counter is remembered, for looking it up costs as much as counting a question. Clients name them.
MOST_MODELS = 256
LONGEST_MODEL = 128
# Counts that are remembered.
MOST_COUNTED = 4096
_IN_WORDS = ascii_letters + " "


# What the models of today use; older ones are estimated anyway unless TIKTOKEN_CACHE_DIR holds their tables.
SHIPPED_ENCODINGS = ("o200k_base", "cl100k_base")


class Tokenizer:
    """Fills ``domain.tokens.TokenCounters``. *folder* holds rank tables named as tiktoken's cache names them."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(os.environ.get("TIKTOKEN_CACHE_DIR") or SHIPPED)
        self._by_model: dict[str, TextsCounter] = {}
        self._loaded: dict[str, TextsCounter] = {}
        self._loads: dict[str, asyncio.Task[TextsCounter]] = {}

    def preload(self) -> None:
        """Load the shipped encodings now: before the workers are forked, who then share them.

        Loading one in a busy worker holds the interpreter for half a second, and with it every stream.
        """
        for name in SHIPPED_ENCODINGS:
            self._loaded[name] = self._load(name)

    async def counter(self, model: str) -> TextsCounter:
        """The counter for *model*, o200k_base where tiktoken knows no such model.

        Each encoding is loaded once, in a thread, however many callers wait for it (0.3 to 0.6 s).
        """
        counter = self._by_model.get(model)
        if counter is None:
            counter = await self._loaded_by(_encoding_name(model))
            if len(model) <= LONGEST_MODEL:
                if len(self._by_model) >= MOST_MODELS:
                    self._by_model.clear()
                self._by_model[model] = counter
        return counter

    async def _loaded_by(self, name: str) -> TextsCounter:
        loaded = self._loaded.get(name)
        if loaded is not None:
            return loaded
        if name not in self._loads:
            self._loads[name] = asyncio.ensure_future(asyncio.to_thread(self._load, name))
        # A caller that is cancelled must not take the others' encoding with it.
        return await asyncio.shield(self._loads[name])

    async def size(self, model: str, messages: Sequence[Message]) -> int:
        """Tokens that *messages* cost inside a prompt of *model*, counted in a thread where they are long."""
        counter = self._by_model[model] if model in self._by_model else await self.counter(model)
        texts = only_texts(messages)
        if texts is not None and sum(map(len, texts)) <= LONG_TEXT:
            return texts_size(texts, counter)
        return await self.off_loop(messages, partial(messages_size, messages, counter))

    async def off_loop(self, subject: str | Sequence[Message] | int, work: Callable[[], T]) -> T:
        """What *work* returns: done in a thread when *subject*, which it counts, is long, else at once."""
        if isinstance(subject, int):
            size = subject
        else:
            size = len(subject) if isinstance(subject, str) else text_length(subject)
        return await asyncio.to_thread(work) if size > LONG_TEXT else work()

    def _load(self, name: str) -> TextsCounter:
        try:
            return EncodingCounter(read_encoding(name, self._folder))
        except Exception as exc:  # noqa: BLE001  # whatever a broken table does, a request must not feel it
            log.warning(
                "tokens of %s are estimated, cautiously: %s. Remedy: unset TIKTOKEN_CACHE_DIR, or let it name a "
                "folder in which tiktoken has cached this encoding",
                name,
                exc,
            )
            return EstimatingCounter()


def _encoding_name(model: str) -> str:
    try:
        return encoding_name_for_model(model)
    except KeyError:
        return DEFAULT_ENCODING


class EncodingCounter:
    """Counts exactly. Text of a special token's spelling is ordinary text here."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encoding = encoding
        # By hash and length, not by the text: what people say does not stay in memory. An answer is counted for the
        # ledger and for its session, a question before and after its answer.
        self._counted: dict[tuple[int, int], int] = {}

    def count(self, text: str) -> int:
        key = (hash(text), len(text))
        known = self._counted.get(key)
        if known is None:
            if len(text) <= _SLICE:
                known = len(self._encoding.encode_ordinary(text))
            else:
                known = sum(len(self._encoding.encode_ordinary(part)) for part in _slices(text))
            if len(self._counted) >= MOST_COUNTED:
                self._counted.clear()
            self._counted[key] = known
        return known

    def counts(self, texts: Sequence[str]) -> Sequence[int]:
        known = [*map(self._counted.get, zip(map(hash, texts), map(len, texts), strict=True))]
        if None not in known:
            return known  # type: ignore[return-value]
        return [self.count(text) if tokens is None else tokens for text, tokens in zip(texts, known, strict=True)]

    def cut_middle(self, text: str, budget: int) -> str:
        """Head ⌈budget/2⌉ and tail ⌊budget/2⌋ tokens of *text*, never over *budget*.

        Where the two meet they may encode to more than they were: they are shrunk until they fit.
        """
        tokens = [token for part in _slices(text) for token in self._encoding.encode_ordinary(part)]
        if len(tokens) <= budget:
            return text
        kept = max(budget, 0)
        while True:
            cut = self._ends(text, tokens, kept)
            excess = self.count(cut) - budget
            if excess <= 0 or not kept:
                return cut
            kept = max(kept - excess, 0)

    def _ends(self, text: str, tokens: list[int], kept: int) -> str:
        head, tail = tokens[: kept - kept // 2], tokens[len(tokens) - kept // 2 :]
        # A token may end inside a character: its bytes are dropped, and the text itself is sliced, so that what
        # is left holds no character that was not there.
        first, last = (len(self._encoding.decode_bytes(ends).decode(errors="ignore")) for ends in (head, tail))
        return text[:first] + text[len(text) - last :]


class EstimatingCounter:
    """Estimates without a table: half a token for a Latin letter or space, one for every other byte of UTF-8.

    No byte-pair encoding needs more than one token a byte, and letters come in words: against the two shipped
    encodings prose, code, JSON, tables and numbers of any language measure 1 to 10 times their tokens, 2 to 3 for
    English. Too few only for text of no language (Base64: 0.8).
    """

    def count(self, text: str) -> int:
        size = len(utf8 := text.encode(errors="replace"))
        single = len(utf8.translate(None, _IN_WORDS.encode()))
        return single + (size - single + 1) // 2

    def counts(self, texts: Sequence[str]) -> Sequence[int]:
        return [*map(self.count, texts)]

    def cut_middle(self, text: str, budget: int) -> str:
        """Head and tail of *text*, each of half the budget by this estimate."""
        if self.count(text) <= budget:
            return text
        budget = max(budget, 0)
        first = self._fitting(text, budget - budget // 2)
        last = self._fitting(reversed(text), budget // 2)
        return text[:first] + text[len(text) - last :]

    @staticmethod
    def _fitting(characters: Iterable[str], budget: int) -> int:
        """How many of *characters* fit into *budget* tokens."""
        halves = (1 if c in _IN_WORDS else 2 * len(c.encode(errors="replace")) for c in characters)
        return sum(1 for _ in takewhile(lambda total: total <= 2 * budget, accumulate(halves)))


def read_encoding(name: str, folder: Path) -> tiktoken.Encoding:
    """Build encoding *name* from the rank tables in *folder*; ValueError or OSError when they are not good."""
    # tiktoken's constructors know patterns and hashes, but fetch their tables through a folder that the environment
    # names, deleting and downloading at will. A copy of their module, reading in our way, changes nothing for
    # others (os.environ is not safe to change while threads run).
    spec = importlib.util.find_spec("tiktoken_ext.openai_public")
    if spec is None or spec.loader is None:
        raise ValueError("tiktoken came without its encodings")
    constructors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(constructors)

    def read_ranks(url: str, expected_hash: str) -> dict[bytes, int]:
        return _read_ranks(folder, url, expected_hash)

    def refuse(**_: str) -> Mapping[bytes, int]:
        raise ValueError(f"{name} is of a kind that is not shipped")

    vars(constructors).update(load_tiktoken_bpe=read_ranks, data_gym_to_mergeable_bpe_ranks=refuse)
    described: dict[str, Any] = constructors.ENCODING_CONSTRUCTORS[name]()
    return tiktoken.Encoding(**described)


def _read_ranks(folder: Path, url: str, expected_hash: str) -> dict[bytes, int]:
    path = folder / hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    table = path.read_bytes()
    if not check_hash(table, expected_hash):
        raise ValueError(f"{path} is damaged: it fails tiktoken's hash")
    return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, table.splitlines())}


def _slices(text: str) -> Iterator[str]:
    return (text[start : start + _SLICE] for start in range(0, len(text), _SLICE))
