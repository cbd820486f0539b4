"""A real nginx with the configuration that the project ships; only its ports are the test's own."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.processes import find_program, free_port, stop, wait_until

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx" / "streamproxy.conf"

# Debian's nginx puts it there: without it a browser refuses modules that come as text/plain.
_TYPES = "/etc/nginx/mime.types"
# nginx wants all its folders named, or it takes those of the system's own nginx.
_MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    include {types};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/streamproxy.conf;
}}
"""


class Nginx:
    """nginx in *folder*, in front of *workers* (ports on this machine).

    *pages* are folders that it serves itself, as a team's own frontend is: ``{"/vue/": folder}``.
    """

    def __init__(self, folder: Path, workers: Sequence[int], pages: Mapping[str, Path] | None = None) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        shipped = _with_ports(SHIPPED.read_text(), self.port, workers)
        (folder / "streamproxy.conf").write_text(_with_pages(shipped, pages or {}))
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, types=_TYPES))
        self._command = [
            find_program("nginx", package="nginx"),
            *("-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")),
        ]

    def complaints(self) -> str:
        """What ``nginx -t`` finds wrong; "" when it accepts the configuration."""
        done = subprocess.run([*self._command, "-t"], capture_output=True, text=True, check=False)
        warned = [line for line in done.stderr.splitlines() if "[warn]" in line or "[emerg]" in line]
        return done.stderr if done.returncode or warned else ""

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)
        wait_until(self._listens, "nginx listens")

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "error.log").read_text()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


def _with_ports(text: str, port: int, workers: Sequence[int]) -> str:
    """The shipped configuration, listening on *port* of the loopback, with one server line a worker."""
    text, count = re.subn(r"listen 80 ", f"listen 127.0.0.1:{port} ", text)
    assert count == 1
    lines = "".join(f"    server 127.0.0.1:{worker} max_fails=0;\n" for worker in workers)
    text, count = re.subn(r"(?:^ +server 127\.0\.0\.1:\d+ max_fails=0;.*\n)+", lines, text, flags=re.MULTILINE)
    assert count == 1
    return text


def _with_pages(text: str, pages: Mapping[str, Path]) -> str:
    """*text* with a location for each folder, before the one that asks the workers."""
    lines = "".join(f"    location ^~ {path} {{ alias {folder}/; }}\n" for path, folder in pages.items())
    return text.replace("    location / {", f"{lines}    location / {{", 1)
