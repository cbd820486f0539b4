"""Proxies that others wrote, each as fast as its own documents let it be, with one worker and nothing that records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.installs import PeerMissingError, node_environment, python_environment
from tests.bench.machine import Cores, output
from tests.bench.targets.target import Target, await_answers, process
from tests.support.processes import find_program, free_port

FILES = Path(__file__).parents[1] / "peers"
_LITELLM_ENVIRONMENT = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MASTER_KEY": "sk-bench",
}


def _version(programs: Path, package: str) -> str:
    return output(programs / "python", "-c", f"from importlib.metadata import version; print(version('{package}'))")


@contextmanager
def starlette(folder: Path, upstream: int, cores: Cores) -> Iterator[Target]:
    """The bare relay of peers/starlette_relay.py, with uvloop and httptools."""
    programs = python_environment("starlette", "starlette", "uvicorn", "uvloop", "httptools", "aiohttp")
    port = free_port()
    command = [programs / "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--app-dir", FILES]
    command += ["--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"]
    command += ["starlette_relay:app"]
    env = {"UPSTREAM": f"http://127.0.0.1:{upstream}"}
    version = f"{_version(programs, 'starlette')}, aiohttp {_version(programs, 'aiohttp')}"
    with process([str(word) for word in command], folder=folder, cores=cores, env=env) as started:
        target = Target("Starlette + aiohttp", port, (started.pid,), version=version)
        yield await_answers(target, started, folder)


@contextmanager
def litellm(folder: Path, upstream: int, cores: Cores) -> Iterator[Target]:
    """LiteLLM's proxy server."""
    programs = python_environment("litellm", "litellm[proxy]", "uvloop", "httptools")
    port = free_port()
    command = [programs / "litellm", "--config", FILES / "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1", "--telemetry", "False"]
    env = {**_LITELLM_ENVIRONMENT, "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream}/v1"}
    version = _version(programs, "litellm")
    with process([str(word) for word in command], folder=folder, cores=cores, env=env) as started:
        target = Target("LiteLLM", port, (started.pid,), ("Authorization: Bearer sk-bench",), 50, version)
        yield await_answers(target, started, folder)


@contextmanager
def portkey(folder: Path, upstream: int, cores: Cores) -> Iterator[Target]:
    """Portkey's gateway, on node."""
    place = node_environment("portkey", FILES / "package.json")
    server = place / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not server.exists():
        raise PeerMissingError(f"portkey: its package has no {server.name}")
    port = free_port()
    command = [find_program("node", package="nodejs"), str(server), f"--port={port}", "--headless"]
    headers = ("x-portkey-provider: openai", f"x-portkey-custom-host: http://127.0.0.1:{upstream}/v1")
    headers += ("Authorization: Bearer sk-bench",)
    version = output("node", "-p", f"require('{place}/node_modules/@portkey-ai/gateway/package.json').version")
    with process(command, folder=folder, cores=cores, cwd=place) as started:
        target = Target("Portkey", port, (started.pid,), headers, 3, version)
        yield await_answers(target, started, folder)
