"""Tool definitions: the library's form where it covers the schema, the whole type where it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_harmony import DeveloperContent, Message, Role, ToolDescription

from llm_server.conversation import Freeform, Tool
from llm_server.harmony.encoding import harmony_encoding
from llm_server.harmony.tools import MAX_DEPTH, render_tools

DESCRIPTIONS = st.text("abc xyz.", min_size=1, max_size=20).map(str.strip).filter(bool)
NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
STAY = {"type": "object", "properties": {"nights": {"type": ["integer", "null"]}}}


def by_the_library(tool: Tool) -> str:
    description = ToolDescription.new(tool.name, tool.description, dict(tool.parameters) if tool.parameters else None)
    content = DeveloperContent.new().with_function_tools([description])
    tokens = harmony_encoding().render(Message.from_role_and_content(Role.DEVELOPER, content))
    text = str(harmony_encoding().decode(tokens))
    return text.removeprefix("<|start|>developer<|message|>").removesuffix("<|end|>")


def parameter(schema: dict[str, Any], **root: Any) -> str:
    """How one parameter is written."""
    tool = Tool("f", "", {"type": "object", "properties": {"p": schema}, "required": ["p"], **root})
    text = render_tools([tool])
    return text.partition("(_: {\n")[2].partition("}) => any;")[0].removesuffix("\n")


def objects(properties: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    members = st.dictionaries(NAMES, properties, min_size=1, max_size=4)
    return members.map(lambda made: {"type": "object", "properties": made, "required": list(made)[::2]})


def annotated(schemas: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda schema, description: {**schema, **({"description": description} if description else {})},
        schemas,
        st.none() | DESCRIPTIONS,
    )


SCALARS = st.one_of(
    st.sampled_from(["string", "number", "integer", "boolean"]).map(lambda name: {"type": name}),
    st.lists(NAMES, min_size=1, max_size=3).map(lambda values: {"type": "string", "enum": values}),
    st.just({"type": ["string", "null"]}),
    st.just({"type": "string", "nullable": True}),
    NAMES.map(lambda default: {"type": "string", "default": default}),
    st.integers(0, 9).map(lambda default: {"type": "integer", "default": default}),
)
# The library forgets that an array's items may be null.
ITEMS = SCALARS.filter(lambda schema: "nullable" not in schema)
# Nor does it tell of a union's first variant, or of a variant with the same description, if the union has one itself.
UNIONS = st.builds(
    lambda variants, default: {"oneOf": variants, **({"default": default} if default else {})},
    st.lists(annotated(SCALARS), min_size=1, max_size=3),
    st.none() | NAMES,
)
SCHEMAS = st.recursive(
    annotated(SCALARS) | UNIONS,
    lambda inner: (
        annotated(objects(inner))
        | annotated((ITEMS | UNIONS).map(lambda items: {"type": "array", "items": items}))
        | st.lists(inner, min_size=1, max_size=2).map(lambda variants: {"oneOf": variants})
    ),
    max_leaves=8,
)


@given(objects(SCHEMAS), st.just("") | DESCRIPTIONS)
def test_what_the_library_covers_is_written_as_the_library_writes_it(
    parameters: dict[str, Any], description: str
) -> None:
    tool = Tool("f", description, parameters)
    assert render_tools([tool]) == by_the_library(tool)


@pytest.mark.parametrize("parameters", [None, {"type": "object", "properties": {}}, {"type": "object"}])
def test_tools_without_parameters_are_the_librarys_too(parameters: dict[str, Any] | None) -> None:
    tool = Tool("f", "One line.\nAnother.", parameters)
    assert render_tools([tool]) == by_the_library(tool)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "p: string | null,"),
        (
            {"anyOf": [{"type": "string", "description": "A name."}, {"type": "integer"}]},
            "p:\n | string // A name.\n | number\n,",
        ),
        (
            {"description": "Who.", "oneOf": [{"type": "string", "description": "A name."}], "default": "Ann"},
            '// Who.\n// default: "Ann"\np:\n | string // A name.\n,',
        ),
        ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "p: (string | null)[],"),
        (
            {"type": "array", "items": {"$ref": "#/$defs/Stay"}},
            "p: {\n    nights?: number | null,\n    }[],",
        ),
        ({"type": "array", "items": {"type": "string"}, "default": ["a", "b"]}, 'p: string[], // default: ["a","b"]'),
        ({"const": "on"}, 'p: "on",'),
        ({"enum": [1, 2, None]}, "p: 1 | 2 | null,"),
        ({"type": "integer", "enum": [1, 2]}, "p: 1 | 2,"),
        ({"$ref": "#/$defs/City"}, "p: string,"),
        ({"$ref": "#/$defs/City", "description": "Where."}, "// Where.\np: string,"),
        ({"allOf": [{"$ref": "#/$defs/City"}]}, "p: string,"),
        ({"type": "array", "items": {"$ref": "#/$defs/City"}}, "p: string[],"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "p: {\n    [key: string]: number,\n    },"),
        ({"$ref": "#/$defs/Missing"}, "p: any,"),
        ({"$ref": "https://example.com/schema"}, "p: any,"),
        ({}, "p: any,"),
        ({"type": "nonsense"}, "p: any,"),
        ({"type": []}, "p: any,"),
        (True, "p: any,"),
    ],
)
def test_what_the_library_leaves_out_is_written_in_full(schema: Any, expected: str) -> None:
    assert parameter(schema, **{"$defs": {"City": {"type": "string"}, "Stay": STAY}}) == expected


def test_a_type_that_contains_itself_ends() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}}
    text = parameter({"$ref": "#/$defs/Tree"}, **{"$defs": {"Tree": tree}})
    assert text.count("children") <= MAX_DEPTH
    assert "any" in text


def test_a_reference_to_itself_is_any() -> None:
    assert parameter({"$ref": "#/$defs/Loop"}, **{"$defs": {"Loop": {"$ref": "#/$defs/Loop"}}}) == "p: any,"


def test_keys_that_are_no_identifiers_are_quoted() -> None:
    text = render_tools([Tool("f", "", {"type": "object", "properties": {"a b\n": {"type": "string"}}})])
    assert '"a b\\n"?: string,' in text


@pytest.mark.parametrize(
    ("freeform", "comment"),
    [
        (Freeform(), "// The input is plain text, not JSON.\n"),
        (
            Freeform("regex", "a+"),
            "// The input is plain text, not JSON. It follows this regular expression:\n// a+\n",
        ),
        (
            Freeform("lark", 'start: "a"\n  | "b"'),
            '// The input is plain text, not JSON. It follows this Lark grammar:\n// start: "a"\n//   | "b"\n',
        ),
    ],
)
def test_a_tool_of_plain_text_is_a_function_of_a_string(freeform: Freeform, comment: str) -> None:
    text = render_tools([Tool("apply_patch", "Change files.", freeform=freeform)])
    assert f"\n\n// Change files.\n{comment}type apply_patch = (_: string) => any;\n\n" in text


def test_a_reference_that_meets_itself_is_any() -> None:
    node = {"type": "object", "properties": {"left": {"$ref": "#/$defs/n"}, "right": {"$ref": "#/$defs/n"}}}
    text = render_tools([Tool("f", "", {"$ref": "#/$defs/n", "$defs": {"n": node}})])
    assert "left?: any,\nright?: any," in text


def test_references_that_double_with_each_level_come_to_an_end() -> None:
    level = "#/$defs/d{}".format
    doubled = {f"d{n}": {"anyOf": [{"$ref": level(n + 1)}, {"$ref": level(n + 1)}]} for n in range(30)}
    text = render_tools([Tool("f", "", {"$ref": level(0), "$defs": {**doubled, "d30": {"type": "string"}}})])
    assert len(text) < 10_000
