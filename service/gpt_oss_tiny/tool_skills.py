"""Skills with tools: which one to call and with what, when to leave them alone, and what to say to their results."""

from __future__ import annotations

from gpt_oss_tiny import questions, results, skills, tools, values
from gpt_oss_tiny.draw import Draw, Phrasings
from gpt_oss_tiny.invented_tools import described, named
from gpt_oss_tiny.requests import Request, declare, request, slot_value
from gpt_oss_tiny.scene import Exchange, Reply, Scene
from gpt_oss_tiny.tool_kinds import Domain
from llm_server.conversation import Tool

RIVALS = (
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
)
"""Kinds of tools that could serve one request equally well, so they are never declared together."""


def rivals(about: str) -> frozenset[str]:
    """The kinds of tools that could be taken for this one, itself included."""
    return _RIVALS.get(about, frozenset({about}))


_RIVALS = {
    domain.about: frozenset({domain.about}).union(*(group for group in RIVALS if domain.about in group))
    for domain in tools.DOMAINS
}


SHELL = frozenset({
    "a command", "a file", "a folder", "deleting a file", "moving a file", "finding files", "SQL", "a query",
    "finding text", "Python code", "editing a file", "writing a file",
})  # fmt: skip
"""Kinds of tools with which one works on files, and does one another's work."""

SHELL_TOOLS = tuple(domain for domain in tools.DOMAINS if domain.about in SHELL)


def other_tools(d: Draw, unwanted: frozenset[str], taken: set[str], count: int) -> list[Tool]:
    """This many tools, of none of the unwanted kinds and with none of the taken names."""
    found: list[Tool] = []
    candidates = d.sample(tools.DOMAINS, min(len(tools.DOMAINS), 2 * count + 8))
    if d.for_an_agent and d.chance(0.7):
        candidates = [*d.sample(SHELL_TOOLS, len(SHELL_TOOLS)), *candidates]
    for domain in candidates:
        if len(found) == count:
            break
        if domain.about in unwanted:
            continue
        tool = _declared(d, domain) if d.chance(0.85) else described(d).tool
        if tool.name not in taken:
            found.append(tool)
            taken = taken | {tool.name}
            unwanted = unwanted | rivals(domain.about)
    return found


def _declared(d: Draw, domain: Domain) -> Tool:
    keys = [key for key in domain.slots if key in domain.always or d.chance(0.5)]
    return declare(d, domain, {key: slot_value(d, domain.slots[key]) for key in keys})[0]


def around(d: Draw, *wanted: Request, count: int) -> tuple[Tool, ...]:
    """The wanted requests' tools, each once, among this many others that would not serve as well."""
    own = {request.tool.name: request.tool for request in wanted}
    count = number_of_others(d) if d.for_an_agent else count
    unwanted = frozenset[str]().union(*(rivals(request.about) for request in wanted))
    return shuffled(d, *own.values(), *other_tools(d, unwanted, set(own), count))


def number_of_others(d: Draw) -> int:
    if d.for_an_agent:
        return d.between(2, 13)
    return d.pick((0, 1, 2, 2, 3, 3)) if d.chance(0.93) else d.between(4, 11 if d.chance(0.8) else 30)


def shuffled(d: Draw, *declared: Tool) -> tuple[Tool, ...]:
    mixed = list(declared)
    d.random.shuffle(mixed)
    return tuple(mixed)


def tool_request(d: Draw) -> Request:
    kind = d.random.random()
    return request(d, d.pick(tools.ASKED_FOR)) if kind < 0.55 else described(d) if kind < 0.85 else named(d)


RESULT_THOUGHTS = ("The tool has answered.", "I can tell the user the result.", "Nothing else is asked for.")


def exchange(d: Draw, wanted: Request, preamble: str = "") -> Exchange:
    """The request, the call, its result, and the answer."""
    result = results.result(d, wanted)
    answer = Reply((*RESULT_THOUGHTS, "I will keep the answer short."), results.answer([result]))
    text = told(d, skills.polite(d, wanted.text))
    return Exchange(text, (Reply(wanted.thoughts, preamble, wanted.call), answer), (result,))


BEFORE = Phrasings(
    "I am working on the {v} {w}.", "My {w} is {v}.", "I have a question.", "Hello!", "Hi!", "Hi there,",
    "Good morning!",
    "I need your help.", "I need your help with something.", "Here is what I need:", "We have a {v} {w}.", "Thanks!",
    "I am planning a {w}.", "The {w} is {v}.", "One more thing.", "This is about the {w}.", "Hello, I have a {w}.",
    "I am writing about the {v}.", "OK.", "Great.", "Let's go on.", "My boss wants a {w}.", "I like the {w}.", "Next:",
)  # fmt: skip
AFTER = Phrasings(
    "It is for my {w}.", "I need it for the {w}.", "This is important.", "It is about the {v} {w}.", "Thank you!",
    "That would help me.", "Tell me the result.", "Then tell me what you got.", "I am in a hurry.", "Use the tool.",
    "Use your tools.", "Let me know what you find.", "The {w} is waiting.", "It is for the {v} of a {w}.", "Do it now.",
)  # fmt: skip


def told(d: Draw, text: str) -> str:
    """The request, sometimes with a sentence before or after it that does not matter."""
    kind = d.random.random()
    if kind < 0.88:
        return text
    if kind < 0.95:
        return f"{d.phrasing(BEFORE).format(v=values.word(d), w=values.word(d))}{d.pick((' ', ' ', chr(10)))}{text}"
    end = "" if text[-1] in ".?!" else "."
    return f"{text}{end} {d.phrasing(AFTER).format(v=values.word(d), w=values.word(d))}"


def single(d: Draw, wanted: Request) -> Scene:
    return Scene("tool call", (exchange(d, wanted),), tools=around(d, wanted, count=number_of_others(d)))


NEEDING_TOOLS = tuple(
    domain for domain in tools.DOMAINS if domain.about in {
        "the weather", "the time", "a file", "a folder", "deleting a file", "a command", "an email", "a stock price",
        "an order", "a timer", "an alarm", "an event", "the calendar", "a web page", "a flight", "a hotel", "the light",
        "the inbox", "SQL", "a booking", "moving a file", "an HTTP request", "a search",
    }
)  # fmt: skip
"""Kinds of requests that nobody could take for something to be said or explained."""


def unserved(d: Draw) -> tuple[str, Exchange]:
    """A request for which there is no tool, with the kind of tool that it would need."""
    about, text = _unserved_request(d)
    thoughts = skills.thoughts(f"The user asks for {about}.", "I have no tool for that.")
    return about, Exchange(text, (Reply(thoughts, questions.NO_TOOL),))


def _unserved_request(d: Draw) -> tuple[str, str]:
    if d.chance(0.2):
        about, asked = d.pick(questions.NEED_A_TOOL)
        return about, d.pick(asked)
    domain = d.pick(NEEDING_TOOLS)
    return domain.about, skills.polite(d, request(d, domain).text)


JOINED = Phrasings(
    "{a} {b}", "{a} And {b_}", "{a} Then {b_}", "{a} Also, {b_}", "First {a_} Then {b_}", "{a} After that, {b_}",
    "Do two things: {a_} {b}", "{A} and then {b_}", "{a} Next, {b_}", "1. {a} 2. {b}", "{a} Afterwards, {b_}",
    "1. {a}\n2. {b}", "- {A}\n- {b}", "{A}, then {b_}", "{A}, and {b_}", "{a}\n{b}", "{a} I also need this: {b}",
    "First, {A_}, then {b_}", "{A} and also {b_}", "I have two requests. {a} {b}", "Two things: {a} {b}",
    "[{A}, and|{A}, and also|{A} and then also|{a} And then|{a} And also|{a} Then also] {b_}",
    "[Please do|I need|I want|Do] [two things|both things|these two things|the following|this]: {a} {b}",
    "[First|First of all|To begin with|At first], {A_}[, then| and then|, and then|, after that] {b_}",
    "{a}[| |\n|\n\n][Second|Next|Then|Also|And|After that|Afterwards][:|,] {b_}",
    "[1.|1)|a)] {a}[ |\n][2.|2)|b)] {b}", "[-|*] {a}\n[-|*] {b}", "{A} [and|then|and then|plus] {b_}",
)  # fmt: skip


_PAIRED = {
    "the weather": 4, "the time": 2, "a stock price": 2, "a file": 2, "an order": 1, "a definition": 1,
    "a web page": 1, "a search": 1,
}  # fmt: skip
PAIRED = tuple(domain for domain in tools.DOMAINS for _ in range(_PAIRED.get(domain.about, 0)))
"""Kinds of requests that people make for two things at once, the usual ones more often."""


def two_calls(d: Draw) -> Scene:
    """Two or three requests in one message, served one after the other."""
    kind = d.random.random()
    first = request(d, d.pick(PAIRED if kind < 0.45 else tools.ASKED_FOR)) if kind < 0.8 else described(d)
    again, text = _same_tool_again(d, first) if kind < 0.45 or d.chance(0.4) else ([], "")
    if not again:
        again = [_other_request(d, first)]
        text = _joined(d, first.text, again[0].text)
    return _calls(d, "two calls", text, [first, *again])


def _calls(d: Draw, skill: str, text: str, wanted: list[Request], found: list[str] | None = None) -> Scene:
    outcome = found or [results.result(d, each) for each in wanted]
    later = (
        Reply(
            (
                f"The user also asks for {each.about}, so I call {each.tool.name}.",
                *each.thoughts[1:3],
                "Then I can answer with all results.",
            ),
            call=each.call,
        )
        for each in wanted[1:]
    )
    final = Reply((*RESULT_THOUGHTS, "I will keep the answer short."), results.answer(outcome))
    replies = (Reply(wanted[0].thoughts, call=wanted[0].call), *later, final)
    return Scene(
        skill,
        (Exchange(text, replies, tuple(outcome)),),
        tools=around(d, *wanted, count=d.pick((0, 0, 1, 2))),
        calls_first=skill == "two calls" and len(wanted) == 2 and d.chance(0.3),
    )


CLOSED = frozenset({
    "city", "country", "someone", "name", "person", "path", "file", "folder", "url", "symbol", "code", "day", "email",
    "word", "small", "zone", "glob",
})  # fmt: skip
"""Kinds of values in which "and" can not be a part, so that it parts two of them."""


def _same_tool_again(d: Draw, first: Request) -> tuple[list[Request], str]:
    """The same request for one or two other values: in Paris and in Rome."""
    if len(first.arguments) != 1:
        return [], ""
    ((name, value),) = first.arguments.items()
    kind = next((s.kind for dom in tools.DOMAINS if dom.about == first.about for s in dom.slots.values()), "")
    if not kind or kind in ("list", "people") or first.text.count(value) != 1 or any(q in first.text for q in "'\"`$"):
        return [], ""
    closed = kind in CLOSED or (kind == "place" and "," not in value)
    drawn = values.KINDS["city" if kind == "place" and closed else kind]
    others = [drawn(d) for _ in range(2 if closed and d.chance(0.25) else 1)]
    if len({value, *others}) <= len(others) or any(o in first.text or " and " in o or "'" in o for o in others):
        return [], ""
    if " and " in value or "," in value + others[0]:
        return [], ""
    joints = (" and ", " and ", " and ", " and then ", " and also ", " as well as ")[0 if closed else 3 :]
    said = ", ".join((value, *others[:-1])) + d.pick(joints) + others[-1]
    return [Request(first.about, first.tool, "", {name: o}) for o in others], first.text.replace(value, said)


def _other_request(d: Draw, first: Request) -> Request:
    taken = rivals(first.about)
    while True:
        second = request(d, d.pick(tools.ASKED_FOR)) if d.chance(0.7) else described(d)
        if second.about not in taken and second.tool.name != first.tool.name:
            return second


def _joined(d: Draw, first: str, second: str) -> str:
    bare = first.removesuffix("?").removesuffix(".")
    first = first if first[-1] in ".?!" else first + "."
    parts = {
        "a": first, "b": second, "a_": skills.lower_first(first), "b_": skills.lower_first(second), "A": bare,
        "A_": skills.lower_first(bare),
    }  # fmt: skip
    return d.phrasing(JOINED).format(**parts)


CHAINS: dict[str, tuple[str, Phrasings]] = {
    "writing a file": ("text", Phrasings(
        "{a} and save it to {path}", "{a} and write it to {path}", "{a} and save the result in {path}",
        "{a}, then [save|write|store] [it|the result] [to|in] [the file |]{path}",
        "{a} and store the result in the file {path}",
        "{a} and put [it|the result] [in|into] {path}", "{a}. [Write|Save] the result to {path}")),
    "an email": ("body", Phrasings(
        "{a} and send it to {to}", "{a} and email it to {to}", "{a} and mail the result to {to}",
        "{a}, then [send|email|mail] [it|the result] to {to}", "{a} and [send|mail] the result to {to} by email",
        "{a}. [Send|Email|Mail] the result to {to}", "{a} and send an email with the result to {to}")),
    "a message": ("text", Phrasings(
        "{a} and tell {who}", "{a} and send it to {who}", "{a} and text it to {who}",
        "{a} and message the result to {who}",
        "{a}, then [tell|inform|notify] {who}", "{a}, then [send|text] [it|the result] to {who}",
        "{a}. [Send|Text] the result to "
        "{who}")),
    "a note": ("text", Phrasings(
        "{a} and make a note of it", "{a} and save it as a note", "{a} and note the result", "{a} and write it down",
        "{a}, then [make|take|save] a note [of it|with the result]",
        "{a}. [Make|Save] a note [of it|with the result]")),
    "a translation": ("text", Phrasings(
        "{a} and translate it to {language}", "{a} and translate the result to {language}",
        "{a} and put it into {language}",
        "{a}, then translate [it|the result] [to|into] {language}",
        "{a}. Translate [it|the result] [to|into] {language}",
        "{a} and [say|give me] [it|the result] in {language}")),
    "a chat post": ("text", Phrasings(
        "{a} and post it in {channel}", "{a} and send it to {channel}", "{a} and post the result to {channel}",
        "{a}, then [post|send] [it|the result] [in|to] {channel}", "{a}. Post [it|the result] [in|to] {channel}")),
}  # fmt: skip
"""Kinds of tools whose call takes the result of the call before it, in this slot."""

SOURCES = frozenset({
    "the weather", "the time", "a search", "a file", "a stock price", "an order", "a definition", "the news",
    "a web page",
    "an addition", "a calculation", "a conversion", "units", "the calendar", "a command", "where the user is",
    "the sun",
    "a plain status", "the inbox", "a price", "a query", "a random number",
})  # fmt: skip
"""Kinds of tools whose result one may want to use."""


def chained(d: Draw) -> Scene:
    """A request whose first call's result is an argument of the second one."""
    about = d.pick(tuple(CHAINS))
    slot, phrasings = CHAINS[about]
    target = next(domain for domain in tools.DOMAINS if domain.about == about)
    sources = [domain for domain in tools.DOMAINS if domain.about in SOURCES - rivals(about)]
    first = request(d, d.pick(sources))
    template = d.phrasing(phrasings)
    said = {key: slot_value(d, target.slots[key]) for key in target.slots if "{" + key + "}" in template}
    found, value = results.usable(d)
    while True:
        tool, arguments = declare(d, target, {**said, slot: value})
        if tool.name != first.tool.name:
            break
    text = template.format(a=first.text.removesuffix("?").removesuffix("."), **said)
    second = Request(about, tool, "", arguments)
    return _calls(d, "chained calls", skills.polite(d, text), [first, second], [found, results.result(d, second)])


PREAMBLE_RULES = Phrasings(
    "[Before|Each time before|Always before] you [call|use] a tool, [say|tell the user|explain|announce] [what you "
    "do|what "
    "you will do|which tool you use].", "[Announce|Explain|Introduce] [each|every] [tool call|call of a tool] [to the "
    "user|in one sentence|first].",
    "Before you call a tool, say what you will do.", "Tell the user what you are doing before you call a tool.",
    "Announce every tool call.", "Explain what you do before each tool call.",
    "Say which tool you use before you use it.",
    "Always write a short preamble before calling a function.", "Announce your tool calls to the user.",
    "Before calling a function, write one sentence about it.", "Keep the user informed before you call tools.",
    "Begin with a short message to the user before any tool call.", "Give a short preamble before tool calls.",
    "[Tell|Inform] the user [about|of] [every|each|any] [tool call|call of a tool|function call] [before you make "
    "it|first|in advance].",
    "[Write|Send|Give] [one sentence|a short message|a preamble|a note] before [every|each|any] [tool call|function "
    "call|call].",
    "[Every|Each] tool call [begins with|comes after|needs] a [preamble|short message to the user|sentence about it].",
)  # fmt: skip


def with_preamble(d: Draw) -> Scene:
    wanted = tool_request(d)
    told = exchange(d, wanted, f"I will use {wanted.tool.name} for that.")
    rule = d.phrasing(PREAMBLE_RULES)
    return Scene("preamble", (told,), (rule,), around(d, wanted, count=d.between(0, 2)))
