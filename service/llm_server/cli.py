"""The command line: `llm-server serve`, `llm-server doctor`, `llm-server explain`, `llm-server bench`.

Options are settings: each one overrides its `LLM_*` variable.
Commands are imported when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from llm_server import __version__
from llm_server.settings import PREFIX, Settings, SettingsError, adopt_tracing, exit_on_error, load_settings

_SERVE_OPTIONS = {
    "--host": "host",
    "--port": "port",
    "--workers": "workers",
    "--model": "model_path",
    "--model-name": "model_name",
    "--device": "device",
    "--quantization": "quantization",
    "--context-length": "context_length",
    "--log-level": "log_level",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code of the process."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    match words[:1]:
        case ["bench"]:
            from llm_server.bench import main as bench

            return bench(words[1:])
        case ["doctor"]:
            from llm_server.doctor import main as doctor

            return doctor(words[1:])
        case ["explain"]:
            from llm_server.explain import main as explain

            return explain(words[1:])
    return _serve(_parser().parse_args(words))


def _serve(options: argparse.Namespace) -> int:
    from llm_server.supervisor import serve

    try:
        adopt_tracing()
        return serve(load_settings(**vars(options)))
    except SettingsError as error:
        exit_on_error(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-server", description="A local gpt-oss server with the OpenAI and Anthropic APIs."
    )
    parser.add_argument("--version", action="version", version=f"llm-server {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="start the server",
        description="Start the server: one engine process and the API workers.",
        epilog="Each option overrides the variable named in brackets. The other settings are variables alone;"
        " .env.example describes them all.",
    )
    for option, name in _SERVE_OPTIONS.items():
        variable = PREFIX + name.upper()
        serve.add_argument(
            option, dest=name, metavar="…", help=f"{Settings.model_fields[name].description} [{variable}]"
        )
    commands.add_parser("doctor", help="say what stands in the way, and what to do about it", add_help=False)
    commands.add_parser("explain", help="say what recorded model output means", add_help=False)
    commands.add_parser("bench", help="measure it against a bare loop and mlx_lm.server", add_help=False)
    return parser
