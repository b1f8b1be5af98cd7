"""What goes in: one request in canonical form, the same for every API.

Each API's `request.py` writes these types and nothing else reads its wire format. A conversation is a flat list of
items, as in the Responses API, because every other shape projects onto it. Nothing here knows tokens, HTTP or JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, Literal, TypeAlias

ReasoningEffort: TypeAlias = Literal["low", "medium", "high"]
ToolMode: TypeAlias = Literal["auto", "none", "required"]


@dataclass(frozen=True, slots=True)
class Instructions:
    """The caller's system or developer text. Harmony's own system message is the server's and is not among these.

    `tools` names deferred ones that the model is told of here.
    """

    text: str
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserText:
    """What a user said; `name` tells one participant from the others."""

    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class AssistantText:
    """Text the user saw. Followed by a tool call in the same turn it was a preamble, otherwise the final answer.

    `preamble`: its client knows that it was one, whatever follows.
    """

    text: str
    preamble: bool = False


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A thought that the client handed back as it got it: sealed. `seal` may be anybody's, or nonsense."""

    seal: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`arguments` is the JSON text exactly as it was generated or sent back."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`name` is that of the tool whose call is answered; the request mappers resolve it from the call id."""

    call_id: str
    name: str
    text: str


Item: TypeAlias = Instructions | UserText | AssistantText | Reasoning | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Freeform:
    """A tool's input is plain text and no JSON: any text, or what a regular expression or a Lark grammar describes."""

    syntax: Literal["text", "regex", "lark"] = "text"
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call. `parameters` is a JSON Schema object, or None for a tool without arguments.

    `strict`: a schema that can not be enforced in full is refused; otherwise what can be is. A `deferred` tool is not
    declared at the beginning but where `Instructions` name it, so that all before that place stays as it was.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool = False
    freeform: Freeform | None = None
    deferred: bool = False


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether tools may or must be called, which, and how many times in one answer. None: any that is declared, and
    any number.

    The other tools, and all of them if none may be called, stay in the prompt, which keeps its prefix; the model can
    just not call them.
    """

    mode: ToolMode = "auto"
    names: frozenset[str] | None = None
    most_calls: int | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything that decides the prompt. `today` has day precision, so a prompt's prefix is stable within a day."""

    items: tuple[Item, ...]
    tools: tuple[Tool, ...] = ()
    reasoning_effort: ReasoningEffort = "medium"
    today: date = field(default_factory=date.today)


@dataclass(frozen=True, slots=True)
class GenerationDefaults:
    """What holds for requests that do not say otherwise. As it is, the model's distribution is left untouched.

    `max_tokens` None means the rest of the context.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int | None = None


_MODELS_OWN: Final = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
"""What of a request's sampling its model may have a default for."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. What the caller did not say is None, and the model's own.

    `top_k` 0 means no limit. `repetition_penalty` divides (CTRL, arXiv:1909.05858), the other two subtract (OpenAI).
    `top_logprobs` None reports no log probabilities; 0 reports the chosen token's alone; at most 20 alternatives.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None

    def settled(self, own: GenerationDefaults) -> GenerationDefaults:
        """What holds for the model whose own options these are."""
        said = ((name, getattr(self, name)) for name in _MODELS_OWN)
        return replace(own, **{name: value for name, value in said if value is not None})

    def or_else(self, own: GenerationDefaults) -> Sampling:
        """The same, with nothing left open."""
        settled = self.settled(own)
        return replace(self, **{name: getattr(settled, name) for name in _MODELS_OWN})


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One answer to generate. `max_tokens` None is the model's own limit; reasoning counts towards it.

    `stop` strings end the answer in the final channel only. `answer_schema` is a JSON Schema that the final message
    satisfies: all of it if `strict_answer`, else what of it can be enforced. `reasoning_budget` bounds the tokens of
    analysis; None leaves room for an answer within `max_tokens`.
    `raw` is a prompt of the caller's own, as token ids, in place of the conversation; no grammar holds for its answer.
    The ids of the answer's calls begin with `call_prefix`, as those of the caller's API do.
    """

    conversation: Conversation
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    answer_schema: Mapping[str, Any] | None = None
    strict_answer: bool = True
    reasoning_budget: int | None = None
    raw: tuple[int, ...] | None = field(default=None, repr=False)
    call_prefix: str = "call_"

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """Those of the declared tools that this answer may call."""
        choice = self.tool_choice
        if choice.mode == "none":
            return ()
        return tuple(tool for tool in self.conversation.tools if choice.names is None or tool.name in choice.names)
