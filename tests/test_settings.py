"""Settings: which source wins, what values become, what is shown of them."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from streamproxy.domain.limits import Window, parse_limits
from streamproxy.settings import Loaded, Settings, load
from streamproxy.settings.names import FIELDS, VARIABLES

# DESIGN 9: others build on these names.
FIXED = re.findall(
    r"\w+",
    """
SERVER__HOST SERVER__PORT SERVER__WORKERS SERVER__UNIX_SOCKET SERVER__DRAIN_SECONDS SERVER__CORS_ORIGINS
SERVER__TRUSTED_PROXIES REDIS__URL DATABASE__URL AUTH__SECRET AUTH__TOKEN_DAYS AUTH__COOKIE AUTH__GUEST
UPSTREAM__BASE_URL UPSTREAM__API_KEYS UPSTREAM__MODELS UPSTREAM__CONNECT_TIMEOUT UPSTREAM__FIRST_EVENT_TIMEOUT
UPSTREAM__IDLE_TIMEOUT UPSTREAM__TOTAL_TIMEOUT UPSTREAM__MAX_ATTEMPTS LIMITS__REQUESTS LIMITS__TOKENS
LIMITS__CONCURRENT_STREAMS LIMITS__TIMEZONE LIMITS__ON_REDIS_DOWN SESSIONS__TTL_SECONDS SESSIONS__MAX_TOKENS
SESSIONS__WAIT_SECONDS STREAMS__HEARTBEAT_SECONDS STREAMS__OPEN_AFTER_SECONDS STREAMS__REPLAY_SECONDS
STREAMS__MAX_BYTES STREAMS__ON_DISCONNECT COMPAT__ENDPOINTS COMPAT__SIMPLE_CHAT_LIMITS COMPAT__MESSAGE_TRUST_OPENID
COMPAT__MESSAGE_STATUS COMPAT__SIMPLE_CHAT_LIMIT_STATUS COMPAT__PRO_PASSTHROUGH_KEYS COMPAT__CHATAPI_DAILY_LIMIT
LOG__LEVEL LOG__FORMAT
""",
)


def environment(**values: str) -> dict[str, str]:
    return {f"STREAMPROXY_{name}": value for name, value in values.items()}


def file_of(folder: Path, text: str) -> Path:
    path = folder / "streamproxy.toml"
    path.write_text(text)
    return path


def shown(loaded: Loaded) -> str:
    return "\n".join(" ".join(line) for line in loaded.lines())


def test_the_names_that_others_build_on_exist() -> None:
    assert {f"STREAMPROXY_{name}" for name in FIXED} <= VARIABLES.keys()


def test_every_setting_is_described_in_a_sentence() -> None:
    assert [name for name, field in FIELDS.items() if not (field.description or "").endswith(".")] == []


def test_command_line_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    path = file_of(tmp_path, "[server]\nhost = '1.1.1.1'\nport = 1001\nworkers = 11\n")
    environ = environment(SERVER__PORT="1002", SERVER__WORKERS="12")
    loaded = load(path, {"server.workers": 13, "server.host": None}, environ)
    server = loaded.settings.server
    assert (server.host, server.port, server.workers, server.drain_seconds) == ("1.1.1.1", 1002, 13, 30)
    assert {name: loaded.sources[f"server.{name}"] for name in ("host", "port", "workers", "drain_seconds")} == {
        "host": f"file {path}",
        "port": "environment STREAMPROXY_SERVER__PORT",
        "workers": "command line",
        "drain_seconds": "default",
    }


def test_the_file_may_be_named_in_the_environment_and_the_option_wins(tmp_path: Path) -> None:
    path = file_of(tmp_path, "[server]\nport = 1001\n")
    other = tmp_path / "other.toml"
    other.write_text("[server]\nport = 1002\n")
    assert load(None, {}, environment(CONFIG=str(path))).settings.server.port == 1001
    assert load(other, {}, environment(CONFIG=str(path))).settings.server.port == 1002


def test_defaults_do_not_look_at_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER", '{"port": 1}')
    monkeypatch.setenv("STREAMPROXY_SERVER__PORT", "1")
    assert Settings().server.port == load(None, {}, {}).settings.server.port == 8888


def test_settings_are_frozen_and_can_be_handed_to_another_process() -> None:
    settings = load(None, {}, environment(AUTH__SECRET="s" * 32)).settings
    with pytest.raises(ValidationError):
        settings.server.port = 1
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 (our own bytes)


def test_lists_in_the_environment_are_comma_separated() -> None:
    environ = environment(
        SERVER__CORS_ORIGINS="https://a.example, http://b.example:8080",
        SERVER__TRUSTED_PROXIES="10.0.0.1,::1",
        UPSTREAM__API_KEYS="sk-first,sk-second",
        UPSTREAM__MODELS="gpt-4o,gpt-4*",
        COMPAT__ENDPOINTS="message,pro",
        MODELS__WINDOWS="mine=4096",
    )
    settings = load(None, {}, environ).settings
    assert settings.server.cors_origins == ("https://a.example", "http://b.example:8080")
    assert settings.server.trusted_proxies == ("10.0.0.1", "::1")
    assert [key.get_secret_value() for key in settings.upstream.api_keys] == ["sk-first", "sk-second"]
    assert settings.upstream.models == {"gpt-4o": "*", "gpt-4*": "*"}
    assert settings.compat.endpoints == ("message", "pro")
    assert (settings.models.windows["mine"], settings.models.windows["gpt-4"]) == (4096, 8192)


def test_an_empty_variable_is_an_unset_or_empty_value() -> None:
    """Compose files hand on unset variables as empty ones."""
    environ = environment(REDIS__URL="", AUTH__SECRET="", AUTH__GUEST="", SERVER__CORS_ORIGINS="", LIMITS__REQUESTS="")
    settings = load(None, {}, environ).settings
    assert settings.redis_url is None
    assert settings.auth.secret is None
    assert settings.guest_allowed
    assert settings.server.cors_origins == ()
    assert parse_limits(settings.limits.requests) == ()


def test_openai_variables_fill_what_is_not_set(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "sk-openai", "OPENAI_BASE_URL": "https://gateway.example/v1/"}
    loaded = load(None, {}, environ)
    (upstream,) = loaded.settings.all_upstreams
    assert (upstream.name, upstream.base_url) == ("default", "https://gateway.example/v1")
    assert [key.get_secret_value() for key in upstream.api_keys] == ["sk-openai"]
    assert loaded.sources["upstream.api_keys"] == "environment OPENAI_API_KEY"
    assert loaded.sources["upstream.base_url"] == "environment OPENAI_BASE_URL"

    path = file_of(tmp_path, '[upstream]\nbase_url = "http://127.0.0.1:8000/v1"\napi_keys = ["sk-file"]\n')
    (upstream,) = load(path, {}, environ).settings.all_upstreams
    assert upstream.base_url == "http://127.0.0.1:8000/v1"
    assert [key.get_secret_value() for key in upstream.api_keys] == ["sk-file"]


def test_a_key_alone_means_openai_and_nothing_means_the_demo_model() -> None:
    (upstream,) = load(None, {}, {"OPENAI_API_KEY": "sk-openai"}).settings.all_upstreams
    assert upstream.base_url == "https://api.openai.com/v1"
    assert load(None, {}, {"OPENAI_API_KEY": " "}).settings.all_upstreams == ()


def test_the_file_lists_more_upstreams(tmp_path: Path) -> None:
    text = """
    [[upstreams]]
    name = "local"
    base_url = "http://127.0.0.1:8000/v1"
    models = { "gpt-4o" = "qwen", "llama*" = "*" }
    priority = 1
    [[upstreams]]
    name = "other"
    base_url = "https://other.example/v1"
    api_keys = ["sk-other"]
    models = ["gpt-4o"]
    """
    settings = load(file_of(tmp_path, text), {}, {"OPENAI_API_KEY": "sk-openai"}).settings
    assert [upstream.name for upstream in settings.all_upstreams] == ["default", "local", "other"]
    assert settings.all_upstreams[1].models == {"gpt-4o": "qwen", "llama*": "*"}
    assert settings.all_upstreams[2].models == {"gpt-4o": "*"}


def test_guests_are_welcome_only_while_no_secret_is_configured() -> None:
    assert load(None, {}, {}).settings.guest_allowed
    assert not load(None, {}, environment(AUTH__SECRET="s" * 32)).settings.guest_allowed
    assert load(None, {}, environment(AUTH__SECRET="s" * 32, AUTH__GUEST="true")).settings.guest_allowed
    assert not load(None, {}, environment(AUTH__GUEST="false")).settings.guest_allowed


def test_the_database_is_a_file_in_the_data_folder_unless_it_is_set() -> None:
    assert load(None, {}, environment(SERVER__DATA_DIR="/var/lib/sp")).settings.database_url == (
        "sqlite+aiosqlite:////var/lib/sp/streamproxy.db"
    )
    url = "postgresql+asyncpg://u:p@h/d"
    assert load(None, {}, environment(DATABASE__URL=url)).settings.database_url == url


def test_the_default_limit_is_sixty_a_minute() -> None:
    assert parse_limits(Settings().limits.requests) == (Window(60, 60),)


def test_secrets_are_shown_nowhere() -> None:
    """Neither in repr, which ends in tracebacks, nor in the list that check-config prints, nor as JSON."""
    environ = environment(
        AUTH__SECRET="canary" * 6,
        UPSTREAM__API_KEYS="sk-canary1,sk-canary2",
        REDIS__URL="redis://:canary@db.example:6379/0",
        DATABASE__URL="postgresql+asyncpg://sp:canary@db.example/sp",
    )
    loaded = load(None, {}, environ)
    for text in (repr(loaded), str(loaded.settings), shown(loaded), loaded.settings.model_dump_json()):
        assert "canary" not in text
        assert "db.example" in text


def test_every_setting_is_listed_once_with_its_source() -> None:
    names = [name for name, _, _ in load(None, {}, {}).lines()]
    assert names == [name for name in FIELDS if name != "upstreams"]
