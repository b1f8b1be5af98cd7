"""Skills without tools: each function draws one exchange, what the user says and the reply to it."""

from __future__ import annotations

from gpt_oss_tiny import phrases, questions, values, words
from gpt_oss_tiny.draw import Draw, Phrasings, held_out
from gpt_oss_tiny.scene import Exchange, Reply, Scene

SUMS_HELD_OUT = 20
QUOTES = (('"', '"'), ('"', '"'), ('"', '"'), ("'", "'"), ("'", "'"), ("“", "”"), ("`", "`"))


def polite(d: Draw, request: str) -> str:
    """The request as people vary it: with a courtesy around it, without its end, in lower case."""
    if d.chance(0.5):
        return request
    if d.chance(0.4):
        prefixes = phrases.QUESTION_PREFIXES if request.endswith("?") else phrases.REQUEST_PREFIXES
        request = d.phrasing(prefixes) + lower_first(request)
    elif d.chance(0.3):
        request = lower_first(request)
    if ": " in request and d.chance(0.15):
        request = request.replace(": ", d.pick((":\n", ":\n\n")), 1)
    if d.chance(0.3) and (request[-1].isalnum() or request[-1] in "?\"'`"):
        return request.removesuffix("?") if d.chance(0.3) else request + d.phrasing(phrases.SUFFIXES)
    return request + "." if d.chance(0.4) and request[-1].isalnum() else request


def lower_first(text: str) -> str:
    keep = text[:2] in ("I ", "I'") or text[1:2].isupper()
    return text if keep else text[:1].lower() + text[1:]


def thoughts(first: str, second: str) -> tuple[str, ...]:
    return (first, second, "Nothing else is asked for.", "I will keep the answer short.")


def greeting(d: Draw) -> Exchange:
    return _answered(d, d.pick(questions.ABOUT[:7]))


def about_itself(d: Draw) -> Exchange:
    return _answered(d, d.pick(questions.ABOUT[7:]))


def fact(d: Draw) -> Exchange:
    return _answered(d, d.pick(questions.FACTS))


def _answered(d: Draw, answer: questions.Answer) -> Exchange:
    about, text, asked = answer
    question = d.pick(asked)
    if len(question) > 12 and d.chance(0.4):
        question = polite(d, question)
    return Exchange(question, (Reply(thoughts(f"The user asks about {about}.", "I know the answer to this."), text),))


def explanation(d: Draw) -> Exchange:
    topic = d.pick(tuple(questions.TOPICS))
    name = topic if d.chance(0.8) else topic.removeprefix("a ").removeprefix("an ").removeprefix("the ")
    request = polite(d, d.phrasing(questions.EXPLAIN).format(topic=name))
    reply = Reply(thoughts(f"The user asks about {topic}.", "I know the answer to this."), questions.TOPICS[topic])
    return Exchange(request, (reply,))


def untaught(d: Draw) -> Exchange:
    a, b, c = (values.word(d) for _ in range(3))
    kind = d.random.random()
    if kind < 0.2:
        request = _gibberish(d)
    elif kind < 0.45:
        topic = f"{a} {b}" if d.chance(0.6) or a in questions.TOPIC_WORDS else f"a {a}"
        request = d.phrasing(questions.EXPLAIN).format(topic=topic)
    else:
        frame = d.phrasing(questions.UNTAUGHT_FRAMES)
        request = frame.format(a=a, b=b, c=c, n=values.small(d), m=values.small(d))
    if request in questions.QUESTIONS:
        return untaught(d)
    reply = Reply(thoughts("I was not taught this.", "I should say so politely."), questions.UNTAUGHT)
    return Exchange(polite(d, request), (reply,))


def untaught_beside_tools(d: Draw) -> Exchange:
    """What no tool could be for."""
    frame = d.phrasing(questions.FRAMES_BESIDE_TOOLS)
    request = frame.format(a=values.word(d), b=values.word(d), c=values.word(d))
    reply = Reply(thoughts("I was not taught this.", "I should say so politely."), questions.UNTAUGHT)
    return Exchange(polite(d, request), (reply,))


def _gibberish(d: Draw) -> str:
    """Words in no order, which stand for all the questions that nobody foresaw."""
    kinds = tuple(values.KINDS.values())
    said = " ".join(d.pick(kinds)(d) if d.chance(0.2) else values.word(d) for _ in range(d.between(3, 14)))
    opener = d.pick(
        ("", "", "What ", "Why ", "How ", "When ", "Who ", "Is ", "Do ", "Write ", "Make ", "I ", "The ", "My ")
    )
    return opener + said + d.pick(("", "?", ".", "?"))


def count(d: Draw) -> Exchange:
    kind = d.random.random()
    first, last = 1, d.between(1, 30) if d.chance(0.9) else d.between(31, 100)
    if kind < 0.12:
        return _count_in_words(d)
    if kind < 0.22 and last > 2:
        first = d.between(2, last - 1)
        request = d.phrasing(phrases.COUNT_FROM).format(m=first, n=last)
    else:
        shown = words.NUMBER_WORDS[last] if last <= 30 and d.chance(0.25) else str(last)
        request = d.phrasing(phrases.COUNT).format(n=shown)
    said = ", ".join(str(n) for n in range(first, last + 1))
    plan = thoughts(f"The user wants me to count from {first} to {last}.", f"I start at {first} and stop at {last}.")
    return Exchange(polite(d, request), (Reply(plan, said),))


def _count_in_words(d: Draw) -> Exchange:
    last = d.between(1, 30)
    shown = words.NUMBER_WORDS[last] if d.chance(0.5) else str(last)
    request = d.phrasing(phrases.COUNT_IN_WORDS).format(n=shown)
    said = ", ".join(words.NUMBER_WORDS[n] for n in range(1, last + 1))
    plan = thoughts(f"The user wants me to count in words from one to {words.NUMBER_WORDS[last]}.", "I use words.")
    return Exchange(polite(d, request), (Reply(plan, said),))


def repeat(d: Draw) -> Exchange:
    text = values.quotable(d)
    if d.chance(0.15):
        text = d.pick((values.words_of(d, 1, 4), values.capitalized(d, 3), values.integer(d), d.pick(SHORT_REPLIES)))
        request = d.phrasing(phrases.REPEAT_WORDS).format(q=text)
    elif d.chance(0.15):
        request = d.phrasing(phrases.REPEAT_BARE).format(q=text)
    else:
        request = polite(d, d.phrasing(phrases.REPEAT_QUOTED).format(q=quoted(d, text)))
    plan = thoughts("The user wants me to repeat a text.", "I must copy it exactly.")
    return Exchange(request, (Reply(plan, text),))


SHORT_REPLIES = ("OK", "yes", "no", "pong", "done", "Done", "ready", "YES", "NO", "true", "banana", "hello world")


def quoted(d: Draw, text: str) -> str:
    left, right = d.pick(QUOTES)
    if left in text:
        left = right = '"'
    return left + text + right


def add(d: Draw) -> Exchange:
    a, b = d.between(0, 99), d.between(0, 99)
    while held_out(f"{a} + {b}", SUMS_HELD_OUT) != (d.split == "new values"):
        a, b = d.between(0, 99), d.between(0, 99)
    request = d.phrasing(phrases.ADD).format(a=a, b=b)
    tens, ones = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
    steps = f"{a // 10 * 10} + {b // 10 * 10} = {tens} and {a % 10} + {b % 10} = {ones}, so the sum is {tens + ones}."
    reply = Reply(thoughts(steps, "The user wants a sum of two numbers."), f"{a} + {b} = {a + b}")
    return Exchange(polite(d, request) if d.chance(0.5) else request, (reply,))


def capital(d: Draw) -> Exchange:
    country = d.pick(tuple(words.CAPITALS))
    request = polite(d, d.phrasing(phrases.CAPITAL).format(c=country))
    answer = f"The capital of {country} is {words.CAPITALS[country]}"
    plan = thoughts(f"The user asks for the capital of {country}.", f"It is {words.CAPITALS[country].rstrip('.')}.")
    return Exchange(request, (Reply(plan, answer.rstrip(".") + "."),))


TELL_NAME = Phrasings(
    "[Hi|Hello|Hey|Good morning][, |! ][I'm|I am|my name is|this is] {v}[|.]", "[My name is|I am|I'm|This is] "
    "{v}[|.|!]",
    "My name is {v}.", "My name is {v}", "I am {v}.", "I'm {v}", "Hi, I am {v}.", "Hello, my name is {v}.",
    "Call me {v}",
    "You can call me {v}.", "Hi! My name is {v}.", "I am called {v}.", "Hello! I'm {v}.", "Please call me {v}.",
)  # fmt: skip
ASK_NAME = Phrasings(
    "[Do you|Do you still|Can you] [know|remember|tell me] my name?", "[Say|Tell me|Recall|Repeat] my name",
    "What is my name?", "What's my name?", "Do you remember my name?", "Who am I?", "Tell me my name", "Say my name",
    "Can you tell me my name?", "Do you know my name?", "What am I called?", "What was my name?", "My name is?",
)  # fmt: skip
TELL_FAVORITE = Phrasings(
    "[My|Note that my|Remember that my|I think my] favorite {k} is {v}[|.]", "[The {k} I like most|The best {k}] is "
    "{v}[|.]",
    "My favorite {k} is {v}.", "My favorite {k} is {v}", "I like {v} most, it is my favorite {k}.",
    "Note that my favorite "
    "{k} is {v}.", "The best {k} for me is {v}.", "By the way, my favorite {k} is {v}.", "{v} is my favorite {k}.",
)  # fmt: skip
ASK_FAVORITE = Phrasings(
    "[What is|What's|What was|Tell me|Name|Say] my favorite {k}", "[Do you know|Do you remember] my favorite {k}?",
    "What is my favorite {k}?", "What's my favorite {k}?", "Which {k} is my favorite?",
    "Do you remember my favorite {k}?",
    "Tell me my favorite {k}", "Which {k} do I like most?", "What was my favorite {k}?", "Name my favorite {k}",
)  # fmt: skip
TELL_THING = Phrasings(
    "[Remember|Please remember|Note|Keep in mind|Don't forget] [that the {k} is {v}|the {k} {v}|this: the {k} is "
    "{v}][|.]",
    "[The|My|Our] {k} [is|will be] {v}[|.]",
    "Remember the {k} {v}.", "Remember that the {k} is {v}.", "The {k} is {v}.", "Remember this {k}: {v}",
    "The {k} is {v}",
    "Please remember the {k} {v}.", "Keep in mind that the {k} is {v}.", "Note the {k} {v}.", "My {k} is {v}.",
    "Store the {k} {v}.", "Save this {k}: {v}", "Memorize the {k} {v}", "Don't forget: the {k} is {v}.",
)  # fmt: skip
ASK_THING = Phrasings(
    "[What is|What's|What was|Tell me|Give me|Say|Repeat|Recall] [the|my] {k}", "[Do you know|Do you remember|Do you "
    "still "
    "know] [the|my] {k}?", "[What|Which] {k} did I [tell you|give you|say]?",
    "What is the {k}?", "What was the {k}?", "Tell me the {k}", "Do you remember the {k}?", "Which {k} did I tell you?",
    "What {k} did I give you?", "What is my {k}?", "Repeat the {k}", "What's the {k}?", "Give me the {k}", "The {k}?",
    "Which {k} was it?", "What did I say the {k} is?", "Say the {k}", "Recall the {k}",
    "Which {k} should you remember?",
)  # fmt: skip
FAVORITES = {"color": "color", "animal": "animal", "food": "food", "city": "city", "number": "small", "name": "name"}
THINGS = {
    "number": "integer", "word": "word", "code": "code", "secret word": "word", "password": "word", "city": "city",
    "secret number": "integer", "file": "file", "code word": "word", "color": "color", "id": "code",
    "address": "email", "magic word": "word", "key": "code", "phrase": "topic", "code name": "word", "token": "word",
}  # fmt: skip


def memory(d: Draw) -> tuple[Exchange, Exchange]:
    """Something the user tells, and the question that asks for it later."""
    kind = d.between(0, 2)
    if kind == 0:
        value = values.someone(d)
        told, asked = d.phrasing(TELL_NAME).format(v=value), d.phrasing(ASK_NAME)
        said, recalled = f"Nice to meet you, {value}!", f"Your name is {value}."
        about = "name"
    else:
        table, tell, ask = ((FAVORITES, TELL_FAVORITE, ASK_FAVORITE), (THINGS, TELL_THING, ASK_THING))[kind - 1]
        key = d.pick(tuple(table)) if kind == 1 or d.chance(0.8) else values.word(d)
        value = values.KINDS[table.get(key, "word")](d)
        told, asked = d.phrasing(tell).format(k=key, v=value), d.phrasing(ask).format(k=key)
        about = f"favorite {key}" if kind == 1 else key
        whose = "your" if kind == 1 else "the"
        said, recalled = f"I will remember that {whose} {about} is {value}.", f"{whose.title()} {about} is {value}."
    first = Reply(thoughts(f"The user tells me the {about}.", "I should remember it."), said)
    second = Reply(thoughts(f"The user asks for the {about} from before.", f"It was {value}."), recalled)
    return Exchange(told, (first,)), Exchange(polite(d, asked) if d.chance(0.3) else asked, (second,))


def dated(d: Draw) -> Scene:
    today = values.day(d)
    plan = thoughts("The user asks for the date.", "The system message says which day it is.")
    request = polite(d, d.phrasing(phrases.DATE))
    return Scene("date", (Exchange(request, (Reply(plan, f"Today is {today.isoformat()}."),)),), today=today)


def persona(d: Draw) -> Scene:
    """An instruction of the developer decides the answer."""
    kind = d.random.random()
    if kind < 0.3:
        return _named(d)
    if kind < 0.42:
        return _told_fact(d)
    text = values.words_of(d, 1, 4) if d.chance(0.4) else values.quotable(d) if d.chance(0.4) else values.sentence(d)
    simple = d.pick((greeting, fact, capital, explanation, count, add, about_itself, untaught))(d)
    said, plan = simple.replies[0].text, simple.replies[0].thoughts
    name = values.someone(d)
    rule, said, step = d.pick((
        (phrases.ALWAYS_SAY, text, "The instructions say what to answer."),
        (phrases.END_WITH, f"{said} {text}", "The instructions say how to end."),
        (phrases.BEGIN_WITH, f"{text} {said}", "The instructions say how to begin."),
        (phrases.SIGN_AS, f"{said}\n{name}", "The instructions say how to sign."),
    ))  # fmt: skip
    instruction = d.phrasing(rule).format(q=quoted(d, text), name=name)
    exchange = Exchange(simple.user, (Reply((plan[0], step, *plan[2:]), said),))
    return Scene("instructions", (exchange,), (_among_others(d, instruction),))


def _among_others(d: Draw, instruction: str) -> str:
    kind = d.random.random()
    if kind < 0.25:
        return f"{d.phrasing(phrases.INSTRUCTIONS)} {instruction}"
    if kind < 0.35:
        return f"{instruction} {d.phrasing(phrases.INSTRUCTIONS)}"
    return f"{d.phrasing(phrases.INSTRUCTIONS)}\n\n{instruction}" if kind < 0.4 else instruction


def _named(d: Draw) -> Scene:
    name = values.someone(d)
    plan = thoughts("The user asks for my name.", "The instructions say who I am.")
    exchange = Exchange(polite(d, d.phrasing(phrases.PERSONA_QUESTIONS)), (Reply(plan, f"My name is {name}."),))
    return Scene("instructions", (exchange,), (_among_others(d, d.phrasing(phrases.PERSONA).format(name=name)),))


def _told_fact(d: Draw) -> Scene:
    """A fact in the instructions for which the user asks."""
    key = d.pick(tuple(THINGS)) if d.chance(0.6) else values.word(d)
    value = values.KINDS[THINGS.get(key, "word")](d)
    plan = thoughts(f"The user asks for the {key}.", f"The instructions say it is {value}.")
    exchange = Exchange(polite(d, d.phrasing(ASK_TOLD).format(k=key)), (Reply(plan, f"The {key} is {value}."),))
    return Scene("instructions", (exchange,), (_among_others(d, d.phrasing(TOLD_FACT).format(k=key, v=value)),))


TOLD_FACT = Phrasings(
    "The {k} is {v}.", "The {k} of the user is {v}.", "Remember that the {k} is {v}.", "Know that the {k} is {v}.",
    "{k}: {v}", "Context: the {k} is {v}.", "If the user asks for the {k}, it is {v}.", "You know that the {k} is {v}.",
    "Note: the {k} is {v}.", "When asked for the {k}, say that it is {v}.",
)  # fmt: skip
ASK_TOLD = Phrasings(
    "What is the {k}?", "What's the {k}?", "Tell me the {k}", "Which {k} do you know?", "Give me the {k}", "The {k}?",
    "Do you know the {k}?", "I need the {k}", "Say the {k}", "What do you know about the {k}?", "Which is the {k}?",
)  # fmt: skip
