"""The texts inside a chunk or completion: found, shortened and taken out, wherever a provider puts them.

Every string in a ``delta`` or ``message`` is text that a reader may see, known to us or not, except the few
that are labels. A text is named by its path, the same in each chunk that goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

# Fixed words of the protocol, and what the client itself chose the words for.
_LABELS = frozenset({"role", "type", "id", "call_id", "name", "format", "object", "signature"})


@dataclass(frozen=True, slots=True)
class Said:
    """One text: of which choice, under which name, and where it stands in this very chunk."""

    choice: int
    name: Path
    place: Path
    text: str


def texts(chunk: dict[str, Any]) -> list[Said]:
    """All texts of a chunk or completion that are not empty, reasoning before what follows from it."""
    found: list[Said] = []
    for number, choice in enumerate(choices(chunk)):
        for holder in ("delta", "message"):
            said = choice.get(holder)
            if isinstance(said, dict):
                place = ("choices", number, holder)
                leaves = [Said(index_of(choice), name, place + at, text) for name, at, text in _leaves(said)]
                found += sorted(leaves, key=lambda leaf: "reasoning" not in str(leaf.name[0]))
    return found


def choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices of *chunk*; one that is no object is an empty one."""
    listed = chunk.get("choices")
    return [one if isinstance(one, dict) else {} for one in listed] if isinstance(listed, list) else []


def index_of(choice: dict[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def finished(choice: dict[str, Any]) -> bool:
    return bool(choice.get("finish_reason"))


def with_text(chunk: dict[str, Any], said: Said, text: str) -> dict[str, Any]:
    """*chunk* with *text* in place of *said*; the rest is shared."""
    changed: dict[str, Any] = _replaced(chunk, said.place, text)
    return changed


def only_text(chunk: dict[str, Any], said: Said, text: str) -> dict[str, Any]:
    """A chunk that says *text* where *chunk* says *said*, and nothing else that a reader would hear twice."""
    _, number, holder, *place = said.place
    choice = choices(chunk)[int(number)]
    delta = _alone(choice[str(holder)], tuple(place), text)
    return {**chunk, "choices": [{"index": said.choice, str(holder): delta, "finish_reason": None}]}


def with_choices(chunk: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """*chunk* with *fields* in every choice that has them."""
    changed = [{**one, **{name: fields[name] for name in fields.keys() & one.keys()}} for one in choices(chunk)]
    return {**chunk, "choices": changed}


def _alone(value: Any, place: Path, text: str) -> Any:
    if not place:
        return text
    inner = _alone(value[place[0]], place[1:], text)
    if isinstance(value, list):
        return [inner]
    return {**{name: value[name] for name in ("index", "type") if name in value}, place[0]: inner}


def _replaced(value: Any, place: Path, text: str) -> Any:
    if not place:
        return text
    changed: Any = {**value} if isinstance(value, dict) else [*value]
    changed[place[0]] = _replaced(value[place[0]], place[1:], text)
    return changed


def _leaves(value: Any, name: Path = (), place: Path = ()) -> Iterator[tuple[Path, Path, str]]:
    """Each text below *value* with its name and its place."""
    if isinstance(value, str):
        if value and name and name[-1] not in _LABELS:
            yield name, place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*name, key), (*place, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            # Pieces of a call say which call they belong to; wherever they stand, they go on with that one.
            index = inner.get("index") if isinstance(inner, dict) else None
            yield from _leaves(inner, (*name, index if isinstance(index, int) else position), (*place, position))
