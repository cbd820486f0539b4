"""The document as a page to read: HTML without scripts, so that it needs nothing from anywhere.

Everything is escaped; the style is a file of the chat page's folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape

from streamproxy.openapi.operation import Json

_METHODS = ("get", "post", "patch", "delete")


def page(document: Json) -> str:
    """The whole page."""
    return "\n".join(_page(document))


def _page(document: Json) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(info['title'])} API</title>"
    yield '<link rel="stylesheet" href="/static/docs.css">\n</head>\n<body>\n<main>'
    yield f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
    yield from (f"<p>{_marked(text)}</p>" for text in info["description"].strip().split("\n\n"))
    yield '<p><a href="/openapi.json">openapi.json</a></p>\n<nav><ul>'
    yield from (f'<li><a href="#{_anchor(t["name"])}">{escape(t["name"])}</a></li>' for t in document["tags"])
    yield "</ul></nav>"
    for tag in document["tags"]:
        yield f'<h2 id="{_anchor(tag["name"])}">{escape(tag["name"])}</h2>\n<p>{_marked(tag["description"])}</p>'
        yield from _operations(document, tag["name"])
    yield '<h2 id="schemas">Schemas</h2>'
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f'<details id="schema-{_anchor(name)}"><summary><code>{escape(name)}</code></summary>'
        yield f"{_code(schema)}</details>"
    yield "</main>\n</body>\n</html>"


def _operations(document: Json, tag: str) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method in _METHODS:
            operation = methods.get(method)
            if operation is not None and tag in operation["tags"]:
                yield from _operation(document, method, path, operation)


def _operation(document: Json, method: str, path: str, operation: Json) -> Iterator[str]:
    yield f'<details id="{escape(operation["operationId"])}"><summary><b class="{method}">{method.upper()}</b> '
    yield f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>"
    if "description" in operation:
        yield f"<p>{_marked(operation['description'])}</p>"
    if operation.get("security") == []:
        yield "<p>No credential is needed.</p>"
    if "parameters" in operation:
        yield "<h3>Parameters</h3>\n<table>"
        for one in operation["parameters"]:
            needed = "required" if one.get("required") else ""
            yield f"<tr><td><code>{escape(one['name'])}</code><td>{one['in']} {needed}<td>{_marked(one['description'])}"
            yield f"<td>{_code(one['schema'])}</tr>"
        yield "</table>"
    if "requestBody" in operation:
        yield f"<h3>Body</h3>\n{_content(operation['requestBody']['content'])}"
    yield "<h3>Answers</h3>\n<table>"
    for status, answer in operation["responses"].items():
        whole = _resolved(document, answer)
        yield f"<tr><td>{status}<td>{_marked(whole['description'])}<td>{_content(whole.get('content', {}))}</tr>"
    yield "</table></details>"


def _content(content: Json) -> str:
    return "".join(f"<p><code>{escape(kind)}</code></p>{_media(media)}" for kind, media in content.items())


def _media(media: Json) -> str:
    example = f"<p>Example:</p>{_code(media['example'])}" if "example" in media else ""
    return _schema(media["schema"]) + example


def _schema(schema: Json) -> str:
    if "$ref" not in schema:
        return _code(schema)
    name = schema["$ref"].rpartition("/")[2]
    return f'<p><a href="#schema-{_anchor(name)}">{escape(name)}</a></p>'


def _resolved(document: Json, answer: Json) -> Json:
    if "$ref" not in answer:
        return answer
    found: Json = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return found


def _code(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>"


def _marked(text: str) -> str:
    """*text* with what stands in backticks as code, which is all the Markdown that descriptions use."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _anchor(name: str) -> str:
    return escape(name.replace(" ", "-"))
