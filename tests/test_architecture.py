"""Imports point one way, and only the engine's files import MLX. Read from the source: nothing is run for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE = Path(__file__).parent.parent / "service"
PACKAGE = SERVICE / "llm_server"

MAY_IMPORT = {
    "conversation": [],
    "events": [],
    "errors": [],
    "stop_strings": ["events"],
    "client_markers": ["conversation"],
    "settings": [],
    "response_store": ["errors"],
    "sealed_text": [],
    "harmony": ["conversation", "events", "errors"],
    "engine.types": ["conversation"],
    "engine.client": ["engine.types", "errors"],
    "generation": [
        "client_markers",
        "conversation",
        "errors",
        "events",
        "stop_strings",
        "harmony",
        "observation",
        "engine.client",
        "engine.types",
    ],
    "api": [
        "observation",
        "conversation",
        "errors",
        "events",
        "settings",
        "generation",
        "response_store",
        "sealed_text",
        "harmony.recordings",
        "harmony.render",
        "harmony.tokens",
        "engine.client",
        "engine.types",
    ],
    "observation": ["conversation", "engine.types", "events"],
    "observability": [
        "conversation",
        "errors",
        "events",
        "engine.types",
        "harmony.repairs",
        "observation",
        "settings",
    ],
}
"""What each part knows, besides itself. Wiring, processes and the supervisor are free."""

APIS = ["openai_chat", "openai_responses", "anthropic", "completions"]


def sources(part: str) -> list[Path]:
    path = PACKAGE / part.replace(".", "/")
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module, names=names, level=0) if module:
                yield from ([f"{module}.{name.name}" for name in names] if module == "llm_server" else [module])


def is_part(module: str, part: str) -> bool:
    return module == f"llm_server.{part}" or module.startswith(f"llm_server.{part}.")


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_point_one_way(part: str) -> None:
    allowed = [part, *MAY_IMPORT[part], "__version__"]
    strays = {
        f"{path.relative_to(SERVICE)}: {module}"
        for path in sources(part)
        for module in imports(path)
        if module.startswith("llm_server.") and not any(is_part(module, each) for each in allowed)
    }
    assert not strays


@pytest.mark.parametrize("api", APIS)
def test_an_api_knows_no_other_api(api: str) -> None:
    others = [f"api.{other}" for other in APIS if other != api]
    modules = {module for path in sources(f"api.{api}") for module in imports(path)}
    assert not [module for module in modules for other in others if is_part(module, other)]


def test_only_the_engine_and_the_benchmark_import_mlx() -> None:
    at_home = [PACKAGE / "engine", PACKAGE / "bench"]
    importers = [
        path for path in PACKAGE.rglob("*.py") for module in imports(path) if module.split(".")[0] in ("mlx", "mlx_lm")
    ]
    assert importers
    assert not [path for path in importers if not any(home in path.parents for home in at_home)]


@pytest.mark.parametrize("module", ["llm_server.server", "llm_server.supervisor", "llm_server.cli"])
def test_the_server_runs_without_mlx_in_its_process(module: str) -> None:
    loaded = _loaded_by(module)
    assert module in loaded
    assert not [name for name in loaded if name.split(".")[0] in ("mlx", "mlx_lm", "torch", "transformers")]


def test_a_model_is_found_or_refused_before_its_code_is_imported() -> None:
    """`mlx_lm` brings transformers, which takes seconds."""
    loaded = _loaded_by("llm_server.engine.found")
    assert not [name for name in loaded if name.split(".")[0] in ("mlx_lm", "transformers")]


def test_the_supervisor_has_no_web_framework_to_die_of() -> None:
    assert not [name for name in _loaded_by("llm_server.supervisor") if name.split(".")[0] in ("fastapi", "starlette")]


def _loaded_by(module: str) -> list[str]:
    program = f"import sys, {module}; print(*sys.modules)"
    environment = {"PYTHONPATH": str(SERVICE)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()
