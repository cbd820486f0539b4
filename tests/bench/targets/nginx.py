"""nginx as it relays best: one worker, unbuffered, no log, connections kept. The limit of what C can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.machine import Cores, output
from tests.bench.targets.target import Target, await_answers, process
from tests.support.processes import find_program, free_port

_CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    tcp_nodelay on;
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            client_body_buffer_size 64k;
        }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, upstream: int, cores: Cores) -> Iterator[Target]:
    """A running nginx."""
    port = free_port()
    folder.mkdir()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, upstream=upstream, port=port))
    program = find_program("nginx", package="nginx")
    version = output(program, "-v").rpartition("/")[2]
    command = [program, "-p", folder, "-c", configuration, "-e", folder / "error.log"]
    with process(command, folder=folder, cores=cores) as started:
        target = Target("nginx", port, (started.pid,), millis=0.1, version=version)
        yield await_answers(target, started, folder)
