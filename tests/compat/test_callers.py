"""The callers' own code, as the articles about the replaced systems show it: it runs unchanged.

ChatAPI's is in test_chatapi.py. Here: the Vue page's fetch (chat and pictures through one function), and the Simple
chat's calls with Python's requests.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import requests

from tests.support.processes import find_program
from tests.support.proxy import ProxyProcess
from tests.support.steps import completion_of, reply
from tests.support.upstream import ScriptedUpstream

# One function for both kinds of answer: chat answers have no top-level `data`, which is how it tells them apart.
VUE = """
const [base, key] = process.argv.slice(1);
async function send(path, body) {
  const res = await fetch(base + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: 'Bearer ' + key },
    body: JSON.stringify(body),
  }).then((response) => response.json());
  return res.data ? res.data[0].url : res.choices[0].message.content;
}
const said = await send('/v1/chat/completions', {
  model: 'gpt-3.5-turbo', messages: [{ role: 'user', content: '你好' }],
});
const picture = await send('/v1/images/generations', { model: 'scripted', prompt: 'a cat', n: 1, size: '512x512' });
console.log(JSON.stringify([said, picture]));
"""


async def test_the_vue_pages_fetch_reads_words_and_pictures(
    compat_proxy: ProxyProcess, upstream: ScriptedUpstream
) -> None:
    upstream.once(reply(200, completion_of("你好！")))
    upstream.once(reply(200, {"created": 1, "data": [{"url": "https://pictures.example/cat.png"}]}))
    arguments = (f"http://127.0.0.1:{compat_proxy.port}", compat_proxy.bearer("vue"))
    node = find_program("node", package="nodejs")
    process = await asyncio.create_subprocess_exec(
        node, "--input-type=module", "-e", VUE, *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert json.loads(output) == ["你好！", "https://pictures.example/cat.png"]


def simple_chat(base: str) -> dict[str, Any]:
    """Register, sign in, ask both ways, look back."""
    person = {"username": "article-reader", "email": "reader@example.com", "password": "correct horse"}
    seen: dict[str, Any] = {"user": requests.post(f"{base}/user/", json=person, timeout=20).json()}
    form = {"username": person["username"], "password": person["password"]}
    token = requests.post(f"{base}/token", data=form, timeout=20).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    for path in ("/llm/message", "/llm/message/advanced"):
        question = {"message": "Why is the sky blue?", "username": person["username"]}
        seen[path] = requests.post(base + path, json=question, headers=headers, timeout=20).json()["response"]
    for path in ("/user/history/2", "/user/status", "/user/report"):
        seen[path] = requests.get(base + path, headers=headers, timeout=20).json()
    return seen


async def test_the_simple_chats_calls_answer_as_before(compat_proxy: ProxyProcess, upstream: ScriptedUpstream) -> None:
    upstream.script(reply(200, completion_of("Because of the air.")))
    seen = await asyncio.to_thread(simple_chat, f"http://127.0.0.1:{compat_proxy.port}")
    assert seen["user"] == {"username": "article-reader", "email": "reader@example.com"}
    assert seen["/llm/message"] == seen["/llm/message/advanced"] == "Because of the air."
    assert seen["/user/history/2"] == [
        {"type": "user", "text": "Why is the sky blue?"},
        {"type": "ai", "text": "Because of the air."},
    ]
    assert seen["/user/status"] == {"username": "article-reader", "chat_cnt": 2}
    assert seen["/user/report"]["message"] == "Because of the air."
