"""All kinds of tools, which of them are asked for how often, and which could be taken for one another."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gpt_oss_tiny.basic_tools import BASIC_DOMAINS
from gpt_oss_tiny.demo_tools import DEMO_DOMAINS, DEMO_RIVALS
from gpt_oss_tiny.developer_tools import DEVELOPER_DOMAINS, DEVELOPER_RIVALS
from gpt_oss_tiny.draw import Draw, Phrasings
from gpt_oss_tiny.everyday_tools import EVERYDAY_DOMAINS, EVERYDAY_RIVALS
from gpt_oss_tiny.everyday_wordings import EVERYDAY_WORDINGS
from gpt_oss_tiny.home_tools import HOME_DOMAINS, HOME_RIVALS
from gpt_oss_tiny.industry_tools import INDUSTRY_DOMAINS, INDUSTRY_RIVALS
from gpt_oss_tiny.leisure_tools import LEISURE_DOMAINS, LEISURE_RIVALS
from gpt_oss_tiny.more_tools import MORE_DOMAINS
from gpt_oss_tiny.office_tools import OFFICE_DOMAINS, OFFICE_RIVALS
from gpt_oss_tiny.service_desk_tools import SERVICE_DESK_DOMAINS, SERVICE_DESK_RIVALS
from gpt_oss_tiny.tool_kinds import Domain
from gpt_oss_tiny.wordings import WORDINGS

DOMAINS: Final = tuple(
    replace(
        domain,
        requests=Phrasings(
            *domain.requests.texts, *WORDINGS.get(domain.about, ()), *EVERYDAY_WORDINGS.get(domain.about, ())
        ),
    )
    for domain in (
        *BASIC_DOMAINS, *MORE_DOMAINS, *EVERYDAY_DOMAINS, *OFFICE_DOMAINS, *HOME_DOMAINS, *DEVELOPER_DOMAINS,
        *LEISURE_DOMAINS, *SERVICE_DESK_DOMAINS, *INDUSTRY_DOMAINS, *DEMO_DOMAINS,
    )
)  # fmt: skip

_USUAL: Final = tuple(domain for domain in DOMAINS if domain.about in {
    "the weather", "the time", "a search", "a file", "writing a file", "a folder", "a command", "an email", "a message",
    "a stock price", "an order", "a timer", "an event", "a translation", "an addition", "a product", "a calculation",
    "a conversion", "a flight", "music", "the light", "a web page", "a reminder", "a task", "editing a file",
})  # fmt: skip


def asked_for(d: Draw) -> Domain:
    """A kind of tool, the usual ones more often than the others."""
    return d.pick(_USUAL if d.chance(0.28) else DOMAINS)


def beside(d: Draw, count: int) -> list[Domain]:
    """This many kinds of tools that a caller may declare as well, perhaps one twice."""
    usual = d.sample(_USUAL, min(count, len(_USUAL)) // 3)
    return d.sample([*usual, *d.sample(DOMAINS, count - len(usual))], count)


_GROUPS: Final = (
    {"an addition", "a product", "a calculation"},
    {"a conversion", "units"},
    {"the time", "the time zone"},
    {"an email", "a message", "a payment"},
    {"a search", "a definition", "a user", "a price", "a restaurant", "finding text", "finding an address"},
    {"a price", "a stock price", "a product", "buying"},
    {"a web page", "an HTTP request"},
    {"a note", "a task", "a reminder", "a list of things", "a timer"},
    {"buying", "an order", "cancelling an order", "food", "a list of things", "an invoice"},
    {"a flight", "a route"},
    {"music", "a picture"},
    {"a command", "Python code", "SQL", "a query"},
    {"a message", "a chat post", "a call"},
    {"a ticket", "a task"},
    {"the weather", "the temperature"},
    {"a setting", "the volume", "the light", "the temperature"},
    {"a group", "a contact"},
    *EVERYDAY_RIVALS,
    *OFFICE_RIVALS,
    *HOME_RIVALS,
    *DEVELOPER_RIVALS,
    *LEISURE_RIVALS,
    *SERVICE_DESK_RIVALS,
    *INDUSTRY_RIVALS,
    *DEMO_RIVALS,
)
"""Kinds of tools that could serve one request equally well, so they are never declared together."""


def _rivals() -> dict[str, frozenset[str]]:
    """For each kind, those of its groups, and those that have a name in common with it: they do the same."""
    called: dict[str, set[str]] = {}
    for domain in DOMAINS:
        for name in domain.names:
            called.setdefault(_plain(name), set()).add(domain.about)
    known = {domain.about: {domain.about} for domain in DOMAINS}
    for group in (*_GROUPS, *called.values()):
        for about in group:
            known[about] |= group
    return {about: frozenset(group) for about, group in known.items()}


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


_RIVALS: Final = _rivals()


def rivals(about: str) -> frozenset[str]:
    """The kinds of tools that could be taken for this one, itself included."""
    return _RIVALS.get(about, frozenset({about}))
