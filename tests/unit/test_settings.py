"""Settings: where they come from, what is refused, and that every refusal is one clear line without a secret."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import ValidationError

from llm_server.running_engine import child_variables
from llm_server.settings import PREFIX, SETTLED, Settings, SettingsError, env_example, exit_on_error, load_settings

REPOSITORY = Path(__file__).parents[2]
SINGLE_VALUES = [name for name, field in Settings.model_fields.items() if not isinstance(field.default, tuple)]


@pytest.fixture(autouse=True)
def _empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith("LLM_"):
            monkeypatch.delenv(name)


def _fault(**environment: str) -> str:
    """The message with which the given variables are refused."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(SettingsError) as caught:
            load_settings()
    return str(caught.value)


def test_defaults_listen_on_loopback_only() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.is_loopback) == ("127.0.0.1", 42002, True)
    assert settings.read_api_key() is None


def test_environment_wins_over_env_file_and_options_win_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("LLM_PORT=1001\nLLM_WORKERS=2\nLLM_MODEL_NAME=from-file\n")
    monkeypatch.setenv("LLM_PORT", "1002")
    monkeypatch.setenv("LLM_WORKERS", "3")
    settings = load_settings(port=1003)
    assert (settings.port, settings.workers, settings.model_name) == (1003, 3, "from-file")


def test_an_option_that_was_not_given_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PORT", "1002")
    assert load_settings(port=None).port == 1002


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MODEL_ALIASES", " gpt-4o , claude-*,")
    assert load_settings().model_aliases == ("gpt-4o", "claude-*")


def test_an_empty_list_is_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MODEL_ALIASES", "")
    assert load_settings().model_aliases == ()


@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize("name", SINGLE_VALUES)
def test_a_blank_value_is_an_unset_one(name: str, blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = getattr(load_settings(), name)
    monkeypatch.setenv(f"LLM_{name.upper()}", blank)
    assert getattr(load_settings(), name) == default


def test_home_is_expanded_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_KEY_FILE", "~/key")
    settings = load_settings()
    assert settings.api_key_file == Path.home() / "key"
    assert settings.state_dir.is_relative_to(Path.home())


@pytest.mark.parametrize("name", ["LLM_STATE_DIR", "LLM_RECORD", "LLM_API_KEY_FILE"])
def test_a_home_that_nobody_has_is_one_line(name: str) -> None:
    assert _fault(**{name: "~nobody-has-it/x"}).startswith(f"{name}: ~nobody-has-it/x is in a home folder that is not")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("LLM_PROT", "LLM_PORT"),
        ("LLM_MODEL", "LLM_MODEL_PATH"),
        ("LLM_QUANTISATION", "LLM_QUANTIZATION"),
        ("LLM_APIKEY", "LLM_API_KEY"),
        ("LLM_CORS_ORIGIN", "LLM_CORS_ORIGINS"),
        ("LLM_CORS", "LLM_CORS_ORIGINS"),
        ("LLM_GUARD", "LLM_HARMONY_GUARD"),
        ("LLM_BODY_BYTES", "LLM_MAX_BODY_BYTES"),
    ],
)
def test_a_misspelt_name_suggests_the_right_one(misspelt: str, meant: str) -> None:
    assert _fault(**{misspelt: "x"}) == f"{misspelt} is no setting of this server. Did you mean {meant}?"


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    assert _fault(LLM_ZZZZ="x") == "LLM_ZZZZ is no setting of this server."


@pytest.mark.parametrize("name", ["LLM_PROT", "llm_prot"])
def test_a_misspelt_name_in_the_env_file_is_found(name: str) -> None:
    Path(".env").write_text(f"{name}=1\n")
    assert "LLM_PORT?" in _fault()


@pytest.mark.parametrize("name", ["LLM_DEVICE=CPU", "LLM_HARMONY_GUARD=OFF", "LLM_CLIENT_MARKERS=Keep", "llm_port=5"])
def test_case_does_not_matter(name: str) -> None:
    Path(".env").write_text(name)
    assert load_settings() != Settings(_env_file=None)


def test_names_of_other_programs_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("DATABASE_URL=x\nHF_TOKEN=y\nPORT=1\nMODEL_NAME=z\n")
    monkeypatch.setenv("LLM_USER_PATH", "/home/me/.llm")
    assert load_settings() == Settings()
    assert load_settings().model_name is None


def test_what_the_compose_file_reads_of_the_env_file_is_known() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    names = set(re.findall(r"\$\{(LLM_[A-Z_]+)", compose))
    assert "LLM_CPU_PORT" in names
    Path(".env").write_text("".join(f"{name}=x\n" for name in names))
    load_settings()


def test_bad_values_give_one_line_each() -> None:
    lines = _fault(LLM_PORT="0", LLM_DEVICE="tpu", LLM_REQUEST_TIMEOUT="inf", LLM_CONTEXT_LENGTH="many").splitlines()
    names = [line.split(":")[0] for line in lines]
    assert sorted(names) == ["LLM_CONTEXT_LENGTH", "LLM_DEVICE", "LLM_PORT", "LLM_REQUEST_TIMEOUT"]


@pytest.mark.parametrize("host", ["http://127.0.0.1", "127.0.0.1:8000", "local host"])
def test_a_host_with_anything_else_in_it_is_refused(host: str) -> None:
    assert _fault(LLM_HOST=host, LLM_API_KEY="key").startswith("LLM_HOST: ")


@pytest.mark.parametrize("origin", ["localhost:3000", "http://localhost:3000/", "ftp://example.com"])
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    assert _fault(LLM_CORS_ORIGINS=f"http://localhost,{origin}").startswith("LLM_CORS_ORIGINS: ")


@pytest.mark.parametrize("origin", ["*", "http://localhost:*", "app://obsidian.md", "chrome-extension://abcdef"])
def test_pages_extensions_and_desktop_programs_can_be_listed(origin: str) -> None:
    assert Settings(cors_origins=origin, _env_file=None).cors_origins == (origin,)


@pytest.mark.parametrize("host", ["http://studio.local", "studio.local:42002", "studio.local/"])
def test_a_host_that_no_header_names_is_refused(host: str) -> None:
    assert _fault(LLM_ALLOWED_HOSTS=f"studio.lan,{host}").startswith("LLM_ALLOWED_HOSTS: ")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert load_settings(host=host).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_other_addresses_need_a_key(host: str) -> None:
    assert "LLM_API_KEY" in _fault(LLM_HOST=host)
    assert load_settings(host=host, api_key="secret").host == host


def test_a_blank_key_does_not_open_the_server_to_the_network() -> None:
    assert "LLM_API_KEY must be set" in _fault(LLM_HOST="0.0.0.0", LLM_API_KEY="  ")


@pytest.mark.parametrize("key", ["s3cret with spaces", "s3cret\ttab", "s3cret-ключ", "s3cret\x7f"])
def test_a_key_that_no_header_can_carry_is_refused_without_echoing_it(key: str) -> None:
    message = _fault(LLM_API_KEY=key)
    assert message.startswith("LLM_API_KEY: ")
    assert "s3cret" not in message


def test_a_secret_in_the_wrong_variable_is_not_echoed() -> None:
    assert "s3cret" not in _fault(LLM_PORT="s3cret", LLM_DEVICE="s3cret", LLM_CORS_ORIGINS="s3cret", LLM_HOST="s3cret/")


@pytest.mark.parametrize("name", ["api_key", "seal_key"])
def test_a_key_is_not_in_the_representation(name: str) -> None:
    assert "s3cret" not in repr(load_settings(**{name: "s3cret"}))


def test_any_text_is_a_key_of_seals() -> None:
    """It is in no header, unlike the other one."""
    key = load_settings(seal_key="correct horse, é").seal_key
    assert key is not None
    assert key.get_secret_value() == "correct horse, é"


def test_the_key_is_read_from_a_variable_or_a_file() -> None:
    Path("key").write_text("from-file\n")
    assert load_settings(api_key=" from-variable ").read_api_key() == "from-variable"
    assert load_settings(api_key_file="key").read_api_key() == "from-file"
    assert load_settings(api_key_file="key", api_key="from-variable").read_api_key() == "from-variable"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b" \n", "empty"), (b"one\ntwo\n", "one key"), (b"\xff\xfe", "no text"), (None, "No such file")],
)
def test_a_key_file_without_one_key_is_refused(content: bytes | None, reason: str) -> None:
    if content is not None:
        Path("key").write_bytes(content)
    with pytest.raises(SettingsError, match=reason):
        load_settings(api_key_file="key").read_api_key()


def test_an_env_file_that_is_no_text_is_one_line() -> None:
    Path(".env").write_bytes(b"\xff\xfe\x00")
    assert _fault() == ".env is no UTF-8 text file"


@pytest.mark.parametrize("line", ["LLM_WORKERS 3", "LLM_PORT: 1", "foo bar baz"])
def test_a_line_of_the_env_file_that_sets_nothing_is_named(line: str) -> None:
    Path(".env").write_text(f"# Settings\nLLM_PORT=5\n{line}\n")
    assert _fault() == ".env: line 3 is not of the form NAME=value"


def test_a_child_has_its_parents_settings_whatever_the_env_file_says_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("LLM_MODEL_NAME=from-file\nLLM_MODEL_ALIASES=a,b\n")
    monkeypatch.setenv("LLM_API_KEY", "")
    settings = load_settings(port=5)
    variables = child_variables(settings, "ipc://engine", None)
    Path(".env").write_text("LLM_API_KEY=later\nLLM_WORKERS=7\nLLM_PROT=1\n")
    for name in (name for name in variables if name.startswith(PREFIX)):
        monkeypatch.setenv(name, variables[name])
    monkeypatch.setenv(SETTLED, variables[SETTLED])
    assert load_settings() == settings.model_copy(update={"engine_address": "ipc://engine"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_env_file_that_may_not_be_read_is_one_line() -> None:
    Path(".env").touch(mode=0)
    assert _fault() == ".env: Permission denied"


def test_a_refused_setting_ends_the_program_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        exit_on_error(SettingsError("LLM_PORT: no"))
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "llm-server: LLM_PORT: no\n"


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_env_example_is_what_the_settings_say() -> None:
    assert (REPOSITORY / ".env.example").read_text() == env_example(), (
        "write it anew: python -m llm_server.settings > .env.example"
    )


def test_env_example_shows_the_defaults() -> None:
    lines = [line for line in env_example().splitlines() if line.startswith("#LLM_")]
    Path(".env").write_text("\n".join(line.removeprefix("#") for line in lines))
    assert len(dotenv_values(".env")) == len(Settings.model_fields)
    shown = load_settings()
    Path(".env").unlink()
    assert shown == load_settings()
