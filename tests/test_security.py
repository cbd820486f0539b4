"""docs/security.md names every item of both lists, and only tests that there are; and headers on every answer."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.http import Client, chat
from tests.support.steps import completion_of, reply
from tests.support.upstream import ScriptedUpstream

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "security.md"
_ROW = re.compile(r"^\| ((?:API|LLM)\d+) [^|]+\| ([^|]+)\| ([^|]+)\|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ITEMS = [f"API{n}" for n in range(1, 11)] + [f"LLM{n:02}" for n in range(1, 11)]
ROWS = {item: tests for item, _, tests in _ROW.findall(DOCUMENT.read_text())}


def test_every_item_of_both_lists_has_its_row() -> None:
    """OWASP's ten for APIs (2023) and its ten for LLM applications (2025)."""
    assert list(ROWS) == ITEMS


@pytest.mark.parametrize("item", ITEMS)
def test_the_tests_of_an_item_exist(item: str) -> None:
    """A renamed or deleted test would leave a promise without one."""
    named = _TEST.findall(ROWS[item])
    assert named
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        (found,) = [function for function in functions if function.name == name]
        skipped = [ast.unparse(mark) for mark in found.decorator_list if re.search("skip|xfail", ast.unparse(mark))]
        assert not skipped, f"{file}::{name} is {skipped}"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/", None),
        ("GET", "/healthz", None),
        ("GET", "/v1/models", None),
        ("GET", "/nowhere", None),
        ("POST", "/v1/chat/completions", {}),
        ("POST", "/v1/chat/completions", chat(stream=False)),
        ("DELETE", "/v1/models", None),
        ("OPTIONS", "/v1/chat/completions", None),
    ],
)
async def test_every_answer_has_the_headers(
    patient: Client, upstream: ScriptedUpstream, method: str, path: str, body: object
) -> None:
    """Nothing is guessed, stored on the way, or told to whom a link leads; and nobody learns what serves here."""
    upstream.script(reply(200, completion_of("Hello")))
    answer = await patient.ask(method, path, body)
    assert answer.head.get("X-Content-Type-Options") == "nosniff"
    assert answer.head.get("Referrer-Policy") == "no-referrer"
    assert "no-store" in (answer.head.get("Cache-Control") or "")
    assert answer.head.get("Server") is None
    assert answer.head.get("X-Request-Id")
