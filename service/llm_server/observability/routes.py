"""Which route a request is for, as a label: its template, whatever its path says. Knows no API but by its path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from starlette.routing import BaseRoute, Route

UNMATCHED: Final = "unmatched"
"""The route of every path that is none of the server's."""

QUIET: Final = frozenset({"/health", "/livez", "/readyz", "/metrics"})
"""Asked every few seconds by programs: not worth a line, nor a span."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_DIALECTS: Final = (
    ("/v1/chat/", "openai_chat"),
    ("/v1/responses", "responses"),
    ("/v1/completions", "completions"),
    ("/v1/messages", "anthropic"),
)


class Routes:
    """The routes of one application. A request is matched before the router sees it, so that a refused one is, too."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        found = [route for route in routes if isinstance(route, Route)]
        self._exact = frozenset(route.path for route in found)
        self._patterns = [(route.path_regex, route.path) for route in found if "{" in route.path]
        self._methods = [(route.path, sorted(route.methods or ())) for route in found]

    def template(self, path: str) -> str:
        if path in self._exact:
            return path
        return next((template for pattern, template in self._patterns if pattern.match(path)), UNMATCHED)

    def served(self) -> Iterator[tuple[str, str, str]]:
        """Method, template and dialect of each."""
        for path, methods in self._methods:
            for method in methods:
                yield method, path, dialect(path)


def dialect(template: str) -> str:
    return next((name for prefix, name in _DIALECTS if template.startswith(prefix)), "none")


def known_method(method: str) -> str:
    return method if method in _METHODS else "OTHER"
