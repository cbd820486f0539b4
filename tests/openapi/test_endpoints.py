"""GET /openapi.json and GET /docs, to anybody."""

from __future__ import annotations

import re

from streamproxy.openapi.document import OPERATIONS
from tests.support.http import Client


async def test_the_document_is_served_without_a_credential(patient: Client) -> None:
    answer = await patient.ask("GET", "/openapi.json", authorization="")
    assert answer.status == 200
    assert answer.head.get("Content-Type") == "application/json"
    assert answer.json["openapi"] == "3.1.1"
    told = {(method, path) for path, methods in answer.json["paths"].items() for method in methods}
    assert told == {(operation.method, operation.path) for operation in OPERATIONS}


async def test_the_page_shows_every_operation_without_scripts(patient: Client) -> None:
    answer = await patient.ask("GET", "/docs", authorization="")
    text = answer.body.decode()
    for operation in OPERATIONS:
        assert f'<details id="{operation.id}">' in text
    policy = answer.head.get("Content-Security-Policy") or ""
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)=\"(?!/|#)", text)
    assert (await patient.ask("GET", "/static/docs.css", authorization="")).head.get(
        "Content-Type"
    ) == "text/css; charset=utf-8"


async def test_links_of_the_page_lead_somewhere(patient: Client) -> None:
    text = (await patient.ask("GET", "/docs")).body.decode()
    ids = set(re.findall(r'id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= ids
