"""The clients of the README's table, as they are installed from their registries, against the embedded model.

Not among the other tests: `make test-clients` runs them. What a client is asked is small, because the model is. A
client that can not be installed here is skipped, with the reason.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from installed_clients import Sandbox
from running_server import RunningServer

pytestmark = pytest.mark.real_clients

PROGRAMS = Path(__file__).with_name("programs")

PYTHON = {
    "openai_agents_sdk": ["openai-agents==0.24.0"],
    "langchain_sdk": ["langchain-openai==1.7.3", "langchain-anthropic==1.7.7"],
    "pydantic_ai_sdk": ["pydantic-ai-slim[openai,anthropic]==2.68.0"],
    "litellm_sdk": ["litellm==1.106.2"],
    "instructor_sdk": ["instructor==1.17.0"],
}


@pytest.mark.parametrize("program", PYTHON)
def test_a_framework_for_python(sandbox: Sandbox, program: str) -> None:
    """Answers, streams, tool loops and typed answers, as far as the framework has them: see `programs/`."""
    commands = sandbox.with_python_packages(*PYTHON[program])
    sandbox.run(str(commands / "python"), str(PROGRAMS / f"{program}.py"), sandbox.base_url)


def test_llm(sandbox: Sandbox) -> None:
    commands = sandbox.with_python_packages("llm==0.36")
    sandbox.write(
        "llm/extra-openai-models.yaml",
        "- model_id: local\n  model_name: gpt-oss-20b\n  api_base: {base_url}/v1\n  api_key_name: local\n",
    )
    answer = sandbox.run(
        str(commands / "llm"), "-m", "local", "--key", "none", "Count to 5", LLM_USER_PATH=str(sandbox.home / "llm")
    )
    assert "1, 2, 3, 4, 5" in answer


@pytest.mark.parametrize(("websockets", "route"), [("false", "/v1/responses"), ("true", "websocket")])
def test_codex(sandbox: Sandbox, server: RunningServer, websockets: str, route: str) -> None:
    commands = sandbox.with_node_package("@openai/codex@0.169.0")
    sandbox.write(
        ".codex/config.toml",
        'model = "gpt-oss-20b"\nmodel_provider = "local"\n[model_providers.local]\nname = "llm-server"\n'
        'base_url = "{base_url}/v1"\nwire_api = "responses"\nrequest_max_retries = 0\nstream_max_retries = 0\n'
        f"supports_websockets = {websockets}\n",
    )
    before = len(server.log)
    told = sandbox.run(
        str(commands / "codex"), "exec", "--skip-git-repo-check", "--sandbox", "read-only", "--json", "Count to 5"
    )
    events = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert any(event.get("item", {}).get("type") == "agent_message" for event in events), told
    assert events[-1]["type"] == "turn.completed", told
    assert {line["route"] for line in map(json.loads, server.log[before:].splitlines()) if "finish" in line} == {route}


def test_claude_code(sandbox: Sandbox) -> None:
    commands = sandbox.with_node_package("@anthropic-ai/claude-code@2.1.197")
    told = sandbox.run(
        str(commands / "claude"),
        "-p",
        "--output-format",
        "json",
        "Count to 5",
        ANTHROPIC_BASE_URL=sandbox.base_url,
        ANTHROPIC_API_KEY="none",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        CLAUDE_CODE_MAX_RETRIES="0",
    )
    result = json.loads(told)
    assert (result["is_error"], result["stop_reason"]) == (False, "end_turn"), told
    assert result["result"]


def test_opencode(sandbox: Sandbox) -> None:
    commands = sandbox.with_node_package("opencode-ai@1.18.33")
    options = {"baseURL": f"{sandbox.base_url}/v1", "apiKey": "none"}
    models = {"gpt-oss-20b": {"limit": {"context": 131072, "output": 32768}}}
    provider = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": models}
    configuration = {"model": "local/gpt-oss-20b", "autoupdate": False, "provider": {"local": provider}}
    sandbox.write(".config/opencode/opencode.json", json.dumps(configuration))
    told = sandbox.run(
        str(commands / "opencode"), "run", "--format", "json", "Count to 5", OPENCODE_DISABLE_MODELS_FETCH="1"
    )
    kinds = [json.loads(line)["type"] for line in told.splitlines()]
    assert {"text", "step_finish"} <= set(kinds), told
    assert "error" not in kinds, told


def test_continue(sandbox: Sandbox) -> None:
    commands = sandbox.with_node_package("@continuedev/cli@1.5.47")
    sandbox.write(
        "config.yaml",
        "name: local\nversion: 1.0.0\nschema: v1\nmodels:\n  - name: gpt-oss\n    provider: openai\n"
        "    model: gpt-oss-20b\n    apiBase: {base_url}/v1\n    apiKey: none\n    roles: [chat]\n",
    )
    told = sandbox.run(
        str(commands / "cn"),
        "-p",
        "--config",
        str(sandbox.home / "config.yaml"),
        "Count to 5",
        CONTINUE_TELEMETRY_ENABLED="0",
    )
    assert told.strip()
