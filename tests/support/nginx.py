"""Real nginx servers with the configurations that the project ships; only their ports are the test's own."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.certificate import make_certificate
from tests.support.processes import find_program, free_port, stop, wait_until

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx"

# Debian's nginx puts it there: without it a browser refuses modules that come as text/plain.
_TYPES = "/etc/nginx/mime.types"
# nginx wants all its folders named, or it takes those of the system's own nginx.
_MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    include {types};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class Nginx:
    """One nginx in *folder* that serves *site*, a configuration that listens on ``port``."""

    def __init__(self, folder: Path, site: str, port: int) -> None:
        self.port = port
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        (folder / "site.conf").write_text(site)
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, types=_TYPES))
        self._command = [
            find_program("nginx", package="nginx"),
            *("-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")),
        ]

    def forget(self, line: str) -> None:
        """Leave *line* out of the configuration, before the start: what it is for should then be missed."""
        site = self._folder / "site.conf"
        site.write_text(_replaced(site.read_text(), line, ""))

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


def inner(folder: Path, workers: Sequence[int], pages: Mapping[str, Path] | None = None) -> Nginx:
    """The inner hop, as ``configure`` prints it, before *workers* (ports on this machine).

    *pages* are folders that it serves itself, as a team's own frontend is: ``{"/vue/": folder}``.
    """
    text = configured("--workers", str(len(workers)))
    for number, worker in enumerate(workers):
        text = _replaced(text, f"127.0.0.1:{8888 + number} ", f"127.0.0.1:{worker} ")
    lines = "".join(f"    location ^~ {path} {{ alias {place}/; }}\n" for path, place in (pages or {}).items())
    text = _replaced(text, "    location / {", f"{lines}    location / {{")
    port = free_port()
    return Nginx(folder, _replaced(text, "listen 80 ", f"listen 127.0.0.1:{port} "), port)


def edge(folder: Path, machines: Sequence[int]) -> tuple[Nginx, Path]:
    """The outer hop before *machines* (ports on this machine), and the certificate that it shows."""
    folder.mkdir(exist_ok=True)
    certificate, key = make_certificate(folder)
    lines = "".join(f"    server 127.0.0.1:{machine} max_fails=0;\n" for machine in machines)
    text, count = re.subn(
        r"(?:^ +server 10\.0\.0\.\d:80 max_fails=0;.*\n)+",
        lines,
        (SHIPPED / "edge.conf").read_text(),
        flags=re.MULTILINE,
    )
    assert count == 1
    port = free_port()
    text = _replaced(text, "listen 443 ", f"listen 127.0.0.1:{port} ")
    text = _replaced(text, "listen 80;", f"listen 127.0.0.1:{free_port()};")
    text = _replaced(text, "/etc/nginx/tls/fullchain.pem", str(certificate))
    return Nginx(folder, _replaced(text, "/etc/nginx/tls/privkey.pem", str(key)), port), certificate


def configured(*options: str) -> str:
    """What ``configure`` prints."""
    done = subprocess.run([SHIPPED / "configure", *options], capture_output=True, text=True, check=True)
    return done.stdout


def _replaced(text: str, what: str, by: str) -> str:
    assert text.count(what) == 1, f"{what!r} stands {text.count(what)} times in the configuration"
    return text.replace(what, by)
