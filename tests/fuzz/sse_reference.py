"""A decoder of event streams written from the WHATWG text alone, step by step, knowing nothing of ours.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation. It takes the whole stream
at once and is as slow as it is literal.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What the specification fires: a MessageEvent's data, type and last event id; the reconnection time beside."""

    data: str
    type: str
    last_event_id: str
    reconnection_time: int | None


def interpret(stream: bytes) -> list[Dispatched]:
    """The events of *stream*, one whose blank line never came left out."""
    # "Streams must be decoded using the UTF-8 decode algorithm", which strips one leading BOM.
    text = stream.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    fired: list[Dispatched] = []
    data, event_type, last_event_id = "", "", ""
    reconnection_time: int | None = None
    for line in _lines(text):
        if line == "":
            # "Dispatch the event": the id is taken over even when the data buffer is empty.
            if data != "":
                fired.append(
                    Dispatched(data.removesuffix("\n"), event_type or "message", last_event_id, reconnection_time)
                )
            data, event_type = "", ""
            continue
        if line[0] == ":":
            continue
        name, colon, value = line.partition(":")
        if colon and value[:1] == " ":
            value = value[1:]
        if name == "event":
            event_type = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            last_event_id = value
        elif name == "retry" and value != "" and all(character in "0123456789" for character in value):
            reconnection_time = int(value) if len(value) <= 12 else reconnection_time
    return fired


def _lines(text: str) -> list[str]:
    """Lines that have ended: by CRLF, by LF, or by CR."""
    lines, current, index = [], "", 0
    while index < len(text):
        character = text[index]
        if character in "\r\n":
            lines.append(current)
            current = ""
            if text[index : index + 2] == "\r\n":
                index += 1
        else:
            current += character
        index += 1
    return lines
