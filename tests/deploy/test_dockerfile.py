"""deploy/Dockerfile, as far as it can be looked at without building it; test_image.py builds it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.deploy.files import ROOT, Step, dockerfile, environment_of, settings_of
from tests.support.proxies import StartProxy

STEPS = list(dockerfile())
LAST_STAGE = STEPS[max(i for i, step in enumerate(STEPS) if step.word == "FROM") :]


def _texts(word: str, steps: list[Step] = STEPS) -> list[str]:
    return [step.text for step in steps if step.word == word]


def _copied() -> list[str]:
    """What the build stage takes from the repository."""
    return [name for text in _texts("COPY") if "--from" not in text for name in text.split()[:-1]]


def test_there_are_two_stages_and_only_the_environment_goes_from_one_to_the_other() -> None:
    assert len(_texts("FROM")) == 2
    assert _texts("COPY", LAST_STAGE) == ["--from=build /opt/streamproxy /opt/streamproxy"]


def test_it_does_not_run_as_root() -> None:
    """By number, so that Kubernetes can see that it is not 0."""
    (user,) = _texts("USER")
    assert user == "10001:10001"
    words = [step.word for step in LAST_STAGE]
    assert words.index("USER") < words.index("ENTRYPOINT")


def test_what_is_copied_is_there_and_not_ignored() -> None:
    """.dockerignore lets through what the build needs and nothing else: no data, no settings, no history."""
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name in _copied():
        assert (ROOT / name).exists(), name
        assert any(fnmatch(name.removeprefix("./"), pattern) for pattern in kept), name
    assert set(kept) == {name.removeprefix("./") for name in _copied()}


def test_what_is_copied_is_enough_for_the_package(tmp_path: Path) -> None:
    """Built from these files alone, the wheel has the page, the scripts for Redis and the tokenizer's tables."""
    source = tmp_path / "src"
    source.mkdir()
    subprocess.run(["cp", "-r", "--parents", *_copied(), str(source)], cwd=ROOT, check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, "./src"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("streamproxy/static/index.html", "streamproxy/stores/redis/lua/", "streamproxy/encodings/"):
        assert any(name.startswith(wanted) for name in names), wanted
    assert not any(name.startswith("tests/") for name in names)


def test_its_environment_is_settings() -> None:
    (step,) = [step for step in LAST_STAGE if step.word == "ENV"]
    settings = settings_of(environment_of(step))
    assert settings.server.host == "0.0.0.0"  # inside a container
    assert str(settings.server.data_dir) in _texts("VOLUME")


def test_it_starts_the_command_that_the_package_has() -> None:
    assert json.loads(_texts("ENTRYPOINT")[0]) == ["streamproxy"]
    assert json.loads(_texts("CMD", LAST_STAGE)[0]) == ["serve"]


@pytest.mark.parametrize("alive", [True, False])
def test_its_health_check_tells_a_server_from_none(start_proxy: StartProxy, alive: bool) -> None:
    """The very command, at the port of a server that runs, and of one that does not."""
    (text,) = _texts("HEALTHCHECK")
    command = json.loads(text.partition("CMD ")[2])
    port = start_proxy().port if alive else 1
    command = [sys.executable, *(part.replace(":8888", f":{port}") for part in command[1:])]
    run = subprocess.run(command, capture_output=True, check=False, timeout=30)
    assert (run.returncode == 0) is alive, shlex.join(command)
