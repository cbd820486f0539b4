"""The image: every step of deploy/Dockerfile carried out on a clean Debian, and what comes of it served from.

Minutes long, and it takes root: ``make image-check``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.imagebuild import Stage, build, inside, make_base
from tests.support.processes import free_port, readiness, wait_until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("image")
    return build(make_base(folder), folder)


@pytest.fixture(scope="module")
def container(image: Stage) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server from the image: its user, no capabilities, a root that cannot be written."""
    port = free_port()
    command = inside(image, [*image.entry, *image.command, "--port", str(port)], user=image.user, read_only=True)
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: readiness(port)[0] == 200, "the container is ready", 60)
        yield port, process
    finally:
        process.kill()
        process.wait()


def test_it_serves_without_root_and_without_writing_to_its_root(
    image: Stage, container: tuple[int, subprocess.Popen[bytes]]
) -> None:
    """The chat page, and an answer of the demo model; the process has the user of the Dockerfile."""
    port, process = container
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert f"Uid:\t{image.user.split(':')[0]}\t" in status
    assert "CapEff:\t0000000000000000" in status
    # The page's cookie is what a guest has.
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(f"http://127.0.0.1:{port}/") as page:
        assert b"<html" in page.read()
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
    request = urllib.request.Request(  # our own address
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"},
    )
    with browser.open(request) as answer:
        assert json.loads(answer.read())["choices"][0]["message"]["content"]


def test_its_health_check_passes_inside(image: Stage, container: tuple[int, subprocess.Popen[bytes]]) -> None:
    port, _ = container
    command = [part.replace(":8888", f":{port}") for part in image.health]
    run = subprocess.run(inside(image, command, user=image.user, read_only=True), check=False)
    assert run.returncode == 0


def test_it_cannot_write_anywhere_but_where_it_should(
    image: Stage, container: tuple[int, subprocess.Popen[bytes]]
) -> None:
    assert container
    for place, may in (("/opt/streamproxy", False), ("/etc", False), ("/tmp", True), (image.volumes[0], True)):  # noqa: S108
        command = inside(image, ["/bin/sh", "-c", f"touch {place}/x 2>/dev/null"], user=image.user, read_only=True)
        assert (subprocess.run(command, check=False).returncode == 0) is may, place


def test_it_stops_when_it_is_asked_to(container: tuple[int, subprocess.Popen[bytes]]) -> None:
    """``docker stop`` sends SIGTERM: it drains and exits with 0."""
    _, process = container
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 0
