"""The tables of kinds of tools: each request can be declared, is filled from what it says, and told from rivals."""

from __future__ import annotations

import json
import re
from string import Formatter

import pytest

from gpt_oss_tiny import tools
from gpt_oss_tiny.draw import Draw
from gpt_oss_tiny.requests import request
from gpt_oss_tiny.tool_kinds import Domain
from gpt_oss_tiny.tool_skills import around
from gpt_oss_tiny.words import NUMBER_WORDS

KINDS = {domain.about: domain for domain in tools.DOMAINS}


def test_every_kind_has_a_name_of_its_own() -> None:
    assert len(KINDS) == len(tools.DOMAINS) > 500


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_request_names_parameters_that_the_kind_has(kind: Domain) -> None:
    for template in kind.requests.texts:
        assert {key for _, key, _, _ in Formatter().parse(template) if key is not None} <= set(kind.slots), template


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_a_call_needs_is_said_in_its_request(kind: Domain) -> None:
    for seed in range(12):
        made = request(Draw(seed), kind)
        parameters = made.tool.parameters or {"properties": {}, "required": []}
        assert set(parameters["required"]) <= set(made.arguments) <= set(parameters["properties"])
        for value in json.loads(made.call.arguments).values():
            for part in value if isinstance(value, list) else [value]:
                assert _is_said(part, made.text), (part, made.text)


def _is_said(value: object, text: str) -> bool:
    if isinstance(value, str):
        return any(said in text for said in (value, value.title(), value.upper()))
    said = json.dumps(value)
    return said in text or (
        isinstance(value, int) and value < len(NUMBER_WORDS) and NUMBER_WORDS[value] in text.lower()
    )


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_request_reads_as_people_write(kind: Domain) -> None:
    for seed in range(12):
        text = request(Draw(seed), kind).text
        assert not re.search(r"\b(the|my|a) (the|my|a)\b|\bon (today|tomorrow|tonight)\b|[{}\[\]|]{2}", text), text


def test_rivals_are_kinds_and_each_other_s() -> None:
    for about in KINDS:
        assert tools.rivals(about) <= set(KINDS)
        assert all(about in tools.rivals(other) for other in tools.rivals(about))
    assert tools.rivals("no kind at all") == {"no kind at all"}


def test_kinds_with_a_name_in_common_are_rivals() -> None:
    assert "get_forecast" in KINDS["the weather"].names
    assert "a forecast" in tools.rivals("the weather")


def test_a_rival_is_declared_beside_a_tool_only_if_it_is_more_general() -> None:
    seen: set[str] = set()
    for seed in range(400):
        d = Draw(seed)
        wanted = request(d, KINDS["the capital"])
        seen |= {tool.name.lower().replace("_", "").replace("-", "") for tool in around(d, wanted, count=8)}
    assert seen & {name.replace("_", "") for name in KINDS["a search"].names}
    assert not seen & {name.replace("_", "").lower() for name in KINDS["facts of a country"].names}
