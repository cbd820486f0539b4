"""deploy/compose.yaml is a compose file, names what is there, and gives streamproxy settings that it takes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from compose_spec import PyCompose

from tests.deploy.files import DEPLOY, ROOT, documents, longest_stop, settings_of

VARIABLE = re.compile(r"\$\{(\w+)(:[-?][^}]*)?\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    (document,) = documents(DEPLOY / "compose.yaml")
    return document


def _filled(text: str) -> str:
    return VARIABLE.sub(lambda match: "" if (match[2] or "").startswith(":-") else "filled-in-" + "x" * 40, text)


def _environment(compose: dict[str, Any]) -> dict[str, str]:
    return {name: _filled(value) for name, value in compose["services"]["streamproxy"]["environment"].items()}


def test_it_follows_the_specification(compose: dict[str, Any]) -> None:
    """Every field is one that compose knows, of the type it wants; volumes and networks that are used exist."""
    parsed = PyCompose.from_json(json.dumps(compose))
    parsed.validate()
    assert set(parsed.service_names()) == {"streamproxy", "nginx", "redis", "postgres", "prometheus", "grafana"}


def test_the_specification_is_really_asked(compose: dict[str, Any]) -> None:
    """A field that is no field of compose's does not pass."""
    wrong = json.loads(json.dumps(compose))
    wrong["services"]["redis"]["helthcheck"] = {"test": "x"}
    with pytest.raises(ValueError, match="helthcheck"):
        PyCompose.from_json(json.dumps(wrong))


def test_what_it_mounts_and_builds_is_there(compose: dict[str, Any]) -> None:
    """Paths are relative to the file; a typing error would mount an empty folder."""
    assert (DEPLOY / compose["services"]["streamproxy"]["build"]["context"]).resolve() == ROOT
    assert (ROOT / compose["services"]["streamproxy"]["build"]["dockerfile"]).is_file()
    mounts = [v.split(":") for service in compose["services"].values() for v in service.get("volumes", [])]
    folders = [source for source, *_ in mounts if source.startswith(".")]
    assert len(folders) >= 4
    for source in folders:
        assert (DEPLOY / source).is_dir(), source
    for source, *_ in mounts:
        assert source.startswith(".") or source in compose["volumes"]


def test_streamproxy_takes_its_settings(compose: dict[str, Any]) -> None:
    """Names and values are checked by the code that reads them."""
    settings = settings_of(_environment(compose))
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.database_url.startswith("postgresql+asyncpg://")
    assert not settings.guest_allowed


def test_nobody_is_killed_before_the_drain_is_over(compose: dict[str, Any]) -> None:
    grace = float(compose["services"]["streamproxy"]["stop_grace_period"].removesuffix("s"))
    assert grace >= longest_stop(settings_of(_environment(compose)))


def test_every_variable_is_in_the_example(compose: dict[str, Any]) -> None:
    """Who fills in the example file has filled in everything that must be."""
    wanted = {match[1] for match in VARIABLE.finditer((DEPLOY / "compose.yaml").read_text())}
    offered = set(re.findall(r"^#?([A-Z_]+)=", (DEPLOY / "compose.env.example").read_text(), re.MULTILINE))
    assert wanted <= offered


def test_only_nginx_and_grafana_are_reached_from_outside_and_from_this_machine_alone(compose: dict[str, Any]) -> None:
    """Redis, PostgreSQL and /metrics are nobody's business; who publishes more has decided to."""
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(published) == {"nginx", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_nginx_is_who_streamproxy_believes(compose: dict[str, Any]) -> None:
    """The address that nginx has is the one that is trusted, and as many ports are configured as workers serve."""
    nginx, proxy = compose["services"]["nginx"], compose["services"]["streamproxy"]
    address = nginx["networks"]["inside"]["ipv4_address"]
    assert proxy["environment"]["STREAMPROXY_SERVER__TRUSTED_PROXIES"] == address
    workers = proxy["command"][proxy["command"].index("--workers") + 1]
    assert f"--workers {workers} --host streamproxy" in nginx["command"][-1]


@pytest.mark.parametrize("name", ["streamproxy", "nginx", "redis"])
def test_what_needs_no_writing_cannot_write(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["tmpfs"]
