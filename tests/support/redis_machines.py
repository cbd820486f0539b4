"""Redis on several "machines": servers on loopback ports, a cluster of them, a master that sentinels watch."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from tests.support.processes import find_program, free_port, stop, wait_until

# How long a server may say nothing before the others agree that it is dead; 15 s and 30 s by default.
SILENCE_MILLISECONDS = 1000
MASTERS = 3
SLOTS = 16384
NAME = "main"


class TcpServer:
    """A redis-server on a loopback port with a folder of its own."""

    def __init__(self, folder: Path, *options: str, config: str = "", password: str = "") -> None:
        self.port = free_port()
        folder.mkdir()
        (folder / "server.conf").write_text(config)
        program = find_program("redis-server", "valkey-server", package="redis-server")
        command = [program, str(folder / "server.conf"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--requirepass", password, "--masterauth", password] if password else []
        command += ["--dir", str(folder), "--save", "", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.client: Any = redis.Redis(port=self.port, password=password or None)

    def ready(self) -> None:
        wait_until(self._answers, "redis-server answers")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def kill(self) -> None:
        """As a machine that lost its power."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            stop(self.process)


class Machines:
    """Servers that are stopped together, whatever happens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.running: list[TcpServer] = []

    def start(self, *options: str, config: str = "", password: str = "") -> TcpServer:
        server = TcpServer(self._folder / uuid4().hex, *options, config=config, password=password)
        self._stack.callback(server.stop)
        server.ready()
        self.running.append(server)
        return server

    def kill_all(self) -> None:
        for server in self.running:
            server.kill()

    def stop(self) -> None:
        self._stack.close()


class Cluster:
    """A Redis Cluster of three masters, each with *replicas*."""

    def __init__(self, machines: Machines, *, replicas: int = 0) -> None:
        buses = [free_port() for _ in range(MASTERS * (1 + replicas))]
        self.nodes = [machines.start(*self._options(bus)) for bus in buses]
        for number, node in enumerate(self.nodes[:MASTERS]):
            first, last = SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS - 1
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, buses[0])
        wait_until(lambda: all(self._sees_all(node) for node in self.nodes), "every node knows the slots", 60)
        for number, node in enumerate(self.nodes[MASTERS:]):
            master = self.nodes[number % MASTERS]
            name = master.client.execute_command("CLUSTER", "MYID")
            wait_until(lambda node=node, name=name: self._replicates(node, name), "it is a replica", 60)  # type: ignore[misc]
        wait_until(self._synchronised, "every replica has its master's data", 60)

    @staticmethod
    def _options(bus: int) -> tuple[str, ...]:
        silence = ("--cluster-node-timeout", str(SILENCE_MILLISECONDS))
        return ("--cluster-enabled", "yes", "--cluster-port", str(bus), *silence)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def holder(self, key: str) -> TcpServer:
        """The master whose slots hold *key*."""
        slot = self.nodes[0].client.execute_command("CLUSTER", "KEYSLOT", key)
        for first, last, (_, port, *_), *_ in self.nodes[0].client.execute_command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody holds {key}")

    def _sees_all(self, node: TcpServer) -> bool:
        """Redis 7.0 calls a cluster ok before every node knows every slot."""
        state = b"cluster_state:ok" in node.client.execute_command("CLUSTER", "INFO")
        known = len(node.client.execute_command("CLUSTER", "NODES").splitlines())
        return state and known == len(self.nodes) and len(node.client.execute_command("CLUSTER", "SLOTS")) == MASTERS

    @staticmethod
    def _replicates(node: TcpServer, master: bytes) -> bool:
        with contextlib.suppress(redis.ResponseError):
            node.client.execute_command("CLUSTER", "REPLICATE", master)
            return True
        return False

    def _synchronised(self) -> bool:
        replicas = [node.client.info("replication") for node in self.nodes[MASTERS:]]
        return all(replica.get("master_link_status") == "up" for replica in replicas)


class Watched:
    """A master with *replicas* that *sentinels* watch."""

    def __init__(self, machines: Machines, *, replicas: int, sentinels: int, password: str = "") -> None:
        self.master = machines.start(password=password)
        following = ("--replicaof", f"127.0.0.1 {self.master.port}")
        self.replicas = [machines.start(*following, password=password) for _ in range(replicas)]
        watch = self._watch(password, quorum=sentinels // 2 + 1)
        self.sentinels = [machines.start("--sentinel", config=watch) for _ in range(sentinels)]
        wait_until(lambda: all(self._knows(sentinel) for sentinel in self.sentinels), "they know each other", 60)

    def _watch(self, password: str, *, quorum: int) -> str:
        lines = [f"sentinel monitor {NAME} 127.0.0.1 {self.master.port} {quorum}"]
        lines += [f"sentinel down-after-milliseconds {NAME} {SILENCE_MILLISECONDS}"]
        lines += [f"sentinel failover-timeout {NAME} {2 * SILENCE_MILLISECONDS}"]
        lines += [f"sentinel auth-pass {NAME} {password}"] if password else []
        return "\n".join([*lines, ""])

    def _knows(self, sentinel: TcpServer) -> bool:
        (about,) = sentinel.client.sentinel_masters().values()
        others = about["num-other-sentinels"] == len(self.sentinels) - 1
        return bool(others and about["num-slaves"] == len(self.replicas))

    def url(self, sentinels: Sequence[int], *, account: str = "") -> str:
        """Names the master by *sentinels* (ports)."""
        return f"redis+sentinel://{account}{','.join(f'127.0.0.1:{port}' for port in sentinels)}/{NAME}/0"
