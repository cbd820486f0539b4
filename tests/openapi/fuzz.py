"""``python -m tests.openapi.fuzz``: a real server, and schemathesis over its /openapi.json with all checks.

Exit code 0 when nothing was found and the server's log holds no fault. Further arguments are schemathesis's own.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streamproxy.domain.identity import Role
from tests.openapi.upstream import AgreeableUpstream
from tests.support.proxy import ProxyProcess
from tests.support.redis_server import RedisServer

FOLDER = Path(__file__).parent
# Nothing but the requests themselves shall be a reason to refuse one.
SETTINGS = {
    "UPSTREAM__MODELS": "*",
    "MODELS__DEFAULT_WINDOW": "100000000",
    "SESSIONS__MAX_TOKENS": "10000000",
    "COMPAT__SIMPLE_CHAT_LIMITS": "",
    "COMPAT__CHATAPI_DAILY_LIMIT": "0",
}
# As the examples of the document have it.
PASSWORD = "correct horse"


@contextmanager
def running_proxy(folder: Path) -> Iterator[ProxyProcess]:
    """A server with an upstream that agrees to everything, and a Redis of its own."""
    redis = RedisServer(folder)
    redis.start()
    try:
        with AgreeableUpstream() as upstream:
            proxy = ProxyProcess(folder, upstream=upstream.base_url, redis_url=redis.url, settings=SETTINGS)
            proxy.start()
            try:
                yield proxy
            finally:
                proxy.stop()
    finally:
        redis.stop()


def fuzz(proxy: ProxyProcess, arguments: Sequence[str]) -> int:
    """Run schemathesis; its exit code."""
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(FOLDER / "schemathesis.toml")),
        *("run", f"http://127.0.0.1:{proxy.port}/openapi.json", "--checks", "all", *arguments),
    ]
    found_by = {"PYTHONPATH": str(FOLDER.parents[1])}
    return subprocess.run(
        command, cwd=proxy.folder, env={**os.environ, **found_by, **credentials(proxy)}, check=False
    ).returncode


def credentials(proxy: ProxyProcess) -> dict[str, str]:
    """An admin who has whatever any operation asks for."""
    token, token_id = asyncio.run(_make_accounts(proxy))
    return {"FUZZ_TOKEN": token, "FUZZ_TOKEN_ID": token_id, "FUZZ_CHATAPI_TOKEN": _chatapi_token(proxy)}


async def _make_accounts(proxy: ProxyProcess) -> tuple[str, str]:
    """Alice of the document's examples, and the admin, whose API token and its id are returned."""
    async with proxy.accounts() as accounts:
        await accounts.auth.add_user("alice", password=PASSWORD)
        root = await accounts.auth.add_user("root", password=PASSWORD, role=Role.ADMIN, openid="wx-1")
        token, kept = await accounts.auth.issue_api_token(root)
        return token, kept.id


def _chatapi_token(proxy: ProxyProcess) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
    connection.request("POST", "/token", json.dumps({"u": "root", "p": PASSWORD}))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return str(answer["message"]["token"])


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, running_proxy(Path(folder)) as proxy:
        return fuzz(proxy, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
