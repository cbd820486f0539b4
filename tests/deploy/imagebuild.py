"""Carries out deploy/Dockerfile without a container engine: each step in a root file system of its own.

A stage begins with a Debian that has Python, made once by debootstrap, as ``python:3.11-slim-bookworm`` is one. Steps
run in a chroot behind mounts that nobody else sees. Needs root, as building images in such a way does.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.files import ROOT, Step, dockerfile, environment_of
from tests.support.processes import find_program

PACKAGES = "python3,python3-venv,ca-certificates"
# What a machine's owner has set for reaching package registries holds inside as well.
REACHING = ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
LONGEST_SECONDS = 900
TEMPORARY = "/tmp"  # noqa: S108  # the image's own
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass(slots=True)
class Stage:
    """A root file system on its way, and what the steps so far have set."""

    root: Path
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
    )
    folder: str = "/"
    user: str = "0:0"
    volumes: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    entry: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def make_base(folder: Path) -> Path:
    """A Debian with Python in *folder*."""
    assert os.geteuid() == 0, "building an image takes root: chroot and mounts"
    base = folder / "base"
    program = find_program("debootstrap", package="debootstrap")
    command = [program, "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(base)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=LONGEST_SECONDS)
    (base / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    return base


def build(base: Path, folder: Path) -> Stage:
    """The last stage, with every step of the Dockerfile done."""
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for number, step in enumerate(dockerfile()):
        if step.word == "FROM":
            name = step.text.partition(" AS ")[2] or "last"
            stage = stages[name] = Stage(folder / name)
            subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(stage.root)], check=True)
        else:
            _carry_out(step, stage, stages, number)
    return stage


def _carry_out(step: Step, stage: Stage, stages: dict[str, Stage], number: int) -> None:
    match step.word:
        case "RUN":
            _run(step.text, stage, number)
        case "COPY":
            _copy(step.text, stage, stages)
        case "ENV":
            set_ = environment_of(step)
            stage.environment |= {n: v.replace("$PATH", stage.environment["PATH"]) for n, v in set_.items()}
        case "WORKDIR":
            stage.folder = step.text
            (stage.root / step.text.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case _:
            _note(step, stage)


def _note(step: Step, stage: Stage) -> None:
    """What a step says of how to run the image."""
    match step.word:
        case "USER":
            stage.user = step.text
        case "VOLUME":
            stage.volumes.append(step.text)
        case "HEALTHCHECK":
            stage.health = json.loads(step.text.partition("CMD ")[2])
        case "ENTRYPOINT":
            stage.entry = json.loads(step.text)
        case "CMD":
            stage.command = json.loads(step.text)
        case "EXPOSE" | "STOPSIGNAL":
            pass
        case _:
            raise AssertionError(f"nobody here knows how to do {step.word}")


def _run(text: str, stage: Stage, number: int) -> None:
    command = inside(stage, ["/bin/sh", "-c", text], user="0:0")
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    assert run.returncode == 0, f"step {number}, RUN {text}:\n{run.stdout[-3000:]}{run.stderr[-3000:]}"


def _copy(text: str, stage: Stage, stages: dict[str, Stage]) -> None:
    *sources, target = text.split()
    root = ROOT
    if sources[0].startswith("--from="):
        root = stages[sources.pop(0).partition("=")[2]].root
    place = stage.root / os.path.join(stage.folder, target).lstrip("/")
    for source in sources:
        found = root / source.lstrip("/")
        if found.is_dir():
            shutil.copytree(
                found, place, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, place)


def inside(stage: Stage, command: list[str], *, user: str, read_only: bool = False) -> list[str]:
    """What runs *command* in the stage, with its environment and folder, as *user*; *read_only* but for its volumes."""
    root = shlex.quote(str(stage.root))
    mounts = [f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    for name in REACHING:
        if Path(name).exists():
            (stage.root / name.lstrip("/")).touch()
            mounts.append(f"mount --bind {name} {root}{name}")
    if read_only:
        mounts += [
            f"mount -t tmpfs tmpfs {root}{TEMPORARY}",
            *(f"mount --bind {root}{v} {root}{v}" for v in stage.volumes),
        ]
        mounts.append(f"mount -o remount,bind,ro {root}")
    uid, gid = user.split(":")
    became = f"setpriv --reuid {uid} --regid {gid} --clear-groups --no-new-privs --bounding-set -all --inh-caps -all"
    variables = shlex.join(f"{n}={v}" for n, v in (stage.environment | _reaching()).items())
    there = shlex.join(["/bin/sh", "-c", 'cd "$0" && exec "$@"', stage.folder, *command])
    became = became if uid != "0" else ""
    mounts.append(f"exec chroot {root} {became} /usr/bin/env -i {variables} {there}")
    return ["unshare", "--mount", "/bin/sh", "-ec", "; ".join(mounts)]


def _reaching() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
