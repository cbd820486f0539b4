# ruff: noqa: INP001  # a script beside the pages it writes, no package
"""Writes the pages that say what the code says: settings.md, errors.md and layers.svg.

``make docs`` runs it; a test fails when a page and the code have parted.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import getdoc
from pathlib import Path
from typing import TypeAlias

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import streamproxy
from docs.layers import layers_picture
from streamproxy import errors
from streamproxy.settings import Settings, UpstreamEntry
from streamproxy.settings.names import FIELDS, UPSTREAMS, variable
from streamproxy.settings.texts import text_of

HERE = Path(__file__).parent
PACKAGE = Path(streamproxy.__file__).parent
# Their errors never leave the process, or come out of the demo model.
NOT_FOR_CLIENTS = ("cli", "settings", "demo")

SETTINGS_HEAD = """# Settings

*Generated from the code by `make docs`.*

A setting is given on the command line, else in the environment, else in the settings file, else it has its
default. In the environment it is called `STREAMPROXY_<SECTION>__<FIELD>`, with lists comma-separated; in the
settings file (`streamproxy serve --config streamproxy.toml`, or `STREAMPROXY_CONFIG`) it is a field of its
section's table. [`deploy/streamproxy.example.toml`](../deploy/streamproxy.example.toml) has them all.

`streamproxy check-config` prints what is in force and where each value came from, and names every fault at once.

Limits are written `N/W`, comma-separated. W is `30s`, `min`, `5min`, `h` or `24h` for a window that slides, or
`calendar-day`. Example: `3/30s,20/calendar-day`.
"""

ERRORS_HEAD = """# Errors

*Generated from the code by `make docs`.*

Every error is `{"error": {"message", "type", "param", "code"}}`: as the body of an answer with a status, or, once
the answer has begun, as one `data:` event before `[DONE]`, which makes every official SDK raise. `code` is what
programs look at. Where a retry cannot help, the answer says `x-should-retry: false`, which OpenAI's SDKs obey;
where it is known when one can, it says `Retry-After`. `X-Request-Id` finds the line in the log.

A client that leaves is no error; the log calls it 499.
"""

REJECTED = """
What an upstream refuses because of the request itself (`UpstreamRejectedError`) keeps the upstream's status and
code, and its message with everything removed that looks like a credential.
"""


Kind: TypeAlias = type[errors.StreamProxyError]


def settings_page() -> str:
    """The text of settings.md."""
    parts = [SETTINGS_HEAD]
    for section, info in Settings.model_fields.items():
        if section != UPSTREAMS:
            parts.append(f"## {section}\n\n{getdoc(info.annotation)}\n")
            fields = [(name, field) for name, field in FIELDS.items() if name.startswith(f"{section}.")]
            parts.append(table(("Variable", "Default", "Meaning"), map(_setting, fields)))
    parts.append(f"## upstreams\n\n{_plain(getdoc(UpstreamEntry))} Only the settings file can spell it.\n")
    rows = [(f"`{name}`", *_meaning(field)) for name, field in UpstreamEntry.model_fields.items()]
    parts.append(table(("Field", "Default", "Meaning"), rows))
    return "\n".join(parts)


def errors_page() -> str:
    """The text of errors.md."""
    kinds = [kind for kind in _tree(errors.StreamProxyError) if kind is not errors.ConfigurationError]
    rows = [(f"`{k.code}`", _status(k), f"`{k.type}`", _yes(k.retryable), _plain(getdoc(k))) for k in kinds[1:]]
    further = [
        (f"`{code}`", _status(kind), f"`{kind.type}`", _yes(kind.retryable), "; ".join(messages))
        for (code, kind), messages in sorted(_by_code().items(), key=lambda item: item[0][0])
    ]
    head = ("Code", "Status", "Type", "Retry helps", "Meaning")
    return "\n".join(
        [
            ERRORS_HEAD,
            table(head, rows),
            "## Codes that say it more exactly\n",
            table((*head[:4], "Message"), further).rstrip("\n"),
            REJECTED,
        ]
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _setting(named: tuple[str, FieldInfo]) -> tuple[str, str, str]:
    return f"`{variable(named[0])}`", *_meaning(named[1])


def _meaning(field: FieldInfo) -> tuple[str, str]:
    example = f" Example: `{text_of(field.examples[0])}`." if field.examples else ""
    return _default(field), f"{field.description}{example}"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    text = text_of(value)
    if isinstance(value, dict) and len(value) > 1:
        return f"{len(value)} well-known models"
    return f"`{text}`" if text and value is not None else text or "none"


def _tree(kind: Kind) -> Iterator[Kind]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child)


def _by_code() -> Mapping[tuple[str, Kind], Sequence[str]]:
    """The messages of every error that is raised with a code of its own."""
    found: dict[tuple[str, Kind], list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in NOT_FOR_CLIENTS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            raised = _raised_by(node)
            if raised is not None:
                code, kind, message = raised
                found[code, kind] += [message] if message not in found[code, kind] else []
    return found


def _raised_by(node: ast.AST) -> tuple[str, Kind, str] | None:
    """Code, class and message, when *node* makes an error with a code of its own."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    kind = getattr(errors, node.func.id, None)
    code = next((k.value for k in node.keywords if k.arg == "code" and isinstance(k.value, ast.Constant)), None)
    if kind is None or code is None:
        return None
    return str(code.value), kind, _message(node.args[0])


def _message(node: ast.expr) -> str:
    """The text of a message, `…` where something is put in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else "…"


def _status(kind: Kind) -> str:
    return "4xx" if kind is errors.UpstreamRejectedError else str(kind.status)


def _yes(value: bool) -> str:  # noqa: FBT001
    return "yes" if value else "no"


def _plain(docstring: str | None) -> str:
    """A docstring in one line, its reST literals as Markdown ones."""
    return " ".join((docstring or "").replace("``", "`").split())


PAGES = {
    HERE / "settings.md": settings_page,
    HERE / "errors.md": errors_page,
    HERE / "layers.svg": layers_picture,
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page())
