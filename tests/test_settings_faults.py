"""Faulty settings: all faults at once, each with name, value, source and remedy, and no secret among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproxy.errors import ConfigurationError
from streamproxy.settings import load


def faults(**environ: str) -> str:
    """The message of the error that loading from this environment raises."""
    with pytest.raises(ConfigurationError) as caught:
        load(None, {}, {f"STREAMPROXY_{name}": value for name, value in environ.items()})
    return caught.value.message


def file_faults(folder: Path, text: str, **environ: str) -> str:
    """The same, with *text* as the settings file."""
    path = folder / "streamproxy.toml"
    path.write_text(text)
    return faults(CONFIG=str(path), **environ)


def test_all_faults_of_all_sources_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "streamproxy.toml"
    path.write_text("[server]\nport = 99999\nprot = 1\n[nonsense]\nx = 1\n[limits]\nrequests = 'lots'\n")
    environ = {"STREAMPROXY_LOG__LEVL": "INFO", "STREAMPROXY_SESSIONS__TTL_SECONDS": "long"}
    with pytest.raises(ConfigurationError) as caught:
        load(path, {"server.workers": 0}, environ)
    message = caught.value.message
    assert message.startswith("7 faults in the settings:")
    for expected in (
        f"server.port = 99999 (file {path}): must be less than or equal to 65535",
        f"server.prot (file {path}): there is no setting of this name\n    remedy: did you mean server.port?",
        f"nonsense (file {path}): there is no setting of this name",
        f"limits.requests = 'lots' (file {path}): 'lots' is not a limit: write N/W",
        "server.workers = 0 (command line): must be greater than or equal to 1",
        "STREAMPROXY_LOG__LEVL (environment): there is no setting of this name",
        "remedy: did you mean STREAMPROXY_LOG__LEVEL?",
        "sessions.ttl_seconds = 'long' (environment STREAMPROXY_SESSIONS__TTL_SECONDS): must be a valid integer",
        "For example STREAMPROXY_SESSIONS__TTL_SECONDS=1800",
    ):
        assert expected in message
    assert message.count("remedy: ") == 7


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("SERVER__PORT", "0", "must be greater than or equal to 1"),
        ("SERVER__CORS_ORIGINS", "https://a.example/path", "must be an origin"),
        ("SERVER__TRUSTED_PROXIES", "nginx", "IPv4 or IPv6"),
        ("REDIS__URL", "http://127.0.0.1", "must begin with redis://"),
        ("DATABASE__URL", "mysql://h/d", "must begin with sqlite+aiosqlite://"),
        ("AUTH__SECRET", "short", "has 5 bytes and must have 32"),
        ("AUTH__GUEST", "perhaps", "must be a valid boolean"),
        ("UPSTREAM__BASE_URL", "api.openai.com", "must begin with http"),
        ("UPSTREAM__BASE_URL", "ftp://h/v1", "must begin with http"),
        ("UPSTREAM__BASE_URL", "https:///v1", "name a host"),
        ("UPSTREAM__BASE_URL", "https://u:p@h/v1", "must not contain a user"),
        ("UPSTREAM__BASE_URL", "https://h/v1?x=1", "must not contain a query"),
        ("UPSTREAM__BASE_URL", "https://h:99999/v1", "ort"),
        ("UPSTREAM__BASE_URL", "https://h/v1\r\nX: y", "must not contain spaces"),
        ("UPSTREAM__API_KEYS", "sk-ok,sk bad", "must be 1 to 4096 visible ASCII characters"),
        ("UPSTREAM__MODELS", "gpt*4", "a model is a name"),
        ("UPSTREAM__DIALECT", "klingon", "must be one of"),
        ("UPSTREAM__IDLE_TIMEOUT", "nan", "must be"),
        ("UPSTREAM__TOTAL_TIMEOUT", "600000000", "must be less than"),
        ("LIMITS__REQUESTS", "60/fortnight", "is not a limit"),
        ("LIMITS__TIMEZONE", "Mars/Olympus", "IANA time zone"),
        ("LIMITS__TIMEZONE", "../../etc/passwd", "IANA time zone"),
        ("LIMITS__ON_REDIS_DOWN", "panic", "'local', 'closed' or 'open'"),
        ("MODELS__WINDOWS", "gpt-4", "must be model=tokens"),
        ("COMPAT__ENDPOINTS", "message,fax", "'simple_chat'"),
        ("LOG__LEVEL", "CHATTY", "'DEBUG'"),
    ],
)
def test_a_value_that_does_not_fit_is_a_fault(variable: str, value: str, problem: str) -> None:
    message = faults(**{variable: value})
    assert message.startswith("one fault in the settings:")
    assert f"(environment STREAMPROXY_{variable})" in message
    assert problem in message
    assert "remedy: " in message


def test_ports_beyond_the_last_are_a_fault() -> None:
    environ = {"SERVER__PORT": "65530", "SERVER__WORKERS": "8", "SERVER__PORT_PER_WORKER": "1"}
    assert "needs ports up to 65537" in faults(**environ)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("SERVER_PORT", "STREAMPROXY_SERVER__PORT"),
        ("UPSTREAM__API_KEY", "STREAMPROXY_UPSTREAM__API_KEYS"),
        ("REDIS_URL", "STREAMPROXY_REDIS__URL"),
        ("CONFG", "STREAMPROXY_CONFIG"),
    ],
)
def test_an_unknown_variable_is_a_fault_with_the_nearest_name(wrong: str, meant: str) -> None:
    assert f"did you mean {meant}?" in faults(**{wrong: "x"})


def test_a_variable_in_small_letters_is_a_fault_and_not_ignored() -> None:
    with pytest.raises(ConfigurationError, match="did you mean STREAMPROXY_SERVER__PORT"):
        load(None, {}, {"streamproxy_server__port": "1"})


def test_what_kubernetes_says_of_a_service_of_our_name_is_no_fault() -> None:
    """Pods see STREAMPROXY_PORT=tcp://… when a service is called streamproxy."""
    environ = {
        "STREAMPROXY_SERVICE_HOST": "10.0.0.7",
        "STREAMPROXY_SERVICE_PORT": "8888",
        "STREAMPROXY_SERVICE_PORT_HTTP": "8888",
        "STREAMPROXY_PORT": "tcp://10.0.0.7:8888",
        "STREAMPROXY_PORT_8888_TCP_ADDR": "10.0.0.7",
        "STREAMPROXY_REDIS_SERVICE_HOST": "10.0.0.8",
        "STREAMPROXY_REDIS_PORT": "tcp://10.0.0.8:6379",
    }
    assert load(None, {}, environ).settings.server.port == 8888
    with pytest.raises(ConfigurationError, match="STREAMPROXY_SERVER_PORT"):
        load(None, {}, {**environ, "STREAMPROXY_SERVER_PORT": "1"})


def test_upstreams_in_the_file_are_checked_one_by_one(tmp_path: Path) -> None:
    message = file_faults(
        tmp_path,
        """
        [[upstreams]]
        name = "a b"
        base_url = "https://h/v1"
        [[upstreams]]
        name = "ok"
        api_keys = ["canary\\tcanary"]
        baseurl = "https://h/v1"
        """,
    )
    assert "upstreams.0.name = 'a b'" in message
    assert "upstreams.1.base_url" in message
    assert "upstreams.1.api_keys.0 = ***" in message
    assert "did you mean base_url?" in message
    assert "canary" not in message


def test_two_upstreams_of_one_name_are_a_fault(tmp_path: Path) -> None:
    tables = '[[upstreams]]\nname = "a"\nbase_url = "https://h/v1"\n' * 2
    assert "two upstreams have the name a" in file_faults(tmp_path, tables)


@pytest.mark.parametrize("text", ["[server\n", "port = ", "\x00"])
def test_a_file_that_is_no_toml_is_a_fault_beside_the_others(text: str, tmp_path: Path) -> None:
    message = file_faults(tmp_path, text, SERVER__PORT="x")
    assert message.startswith("2 faults")
    assert "is no TOML" in message
    assert "server.port" in message


def test_bytes_that_are_no_text_are_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "streamproxy.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is no TOML"):
        load(path, {}, {})


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        load(tmp_path / "missing.toml", {}, {})
    with pytest.raises(ConfigurationError, match="there is no such file"):
        load(None, {}, {"STREAMPROXY_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("text", ["server = 3", "[upstream]\napi_keys = 3", "upstreams = 'sk-canary'", "[[server]]"])
def test_a_value_of_the_wrong_shape_is_a_fault(text: str, tmp_path: Path) -> None:
    message = file_faults(tmp_path, text)
    assert message.startswith("one fault")
    assert "canary" not in message


def test_no_fault_shows_a_secret(tmp_path: Path) -> None:
    """Not even one that stands under a wrong name, in a wrong place or in a wrong form."""
    message = file_faults(
        tmp_path,
        """
        secret = "canary-top"
        [upstream]
        api_key = "canary-name"
        base_url = "https://user:canary-url@h/v1"
        [auth]
        secret = 12345
        [redis]
        url = "redis//:canary-redis@h"
        [[upstreams]]
        name = "x"
        base_url = "https://h/v1"
        key = "canary-list"
        """,
        AUTH__SECRET="canary-short",
        UPSTREAM__API_KEYS="canary key",
        UPSTREAM__KEY="canary-variable",
        DATABASE__URL="postgres://u:canary@h/d",
    )
    assert message.startswith("9 faults")
    assert "canary" not in message
    assert "12345" not in message
