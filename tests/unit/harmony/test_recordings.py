"""`LLM_RECORD`: what is written is what `explain` reads, for its owner alone, and a full disk costs no request."""

from __future__ import annotations

import io
import json
import stat
from dataclasses import replace
from pathlib import Path

from fakes import Hang, ScriptedEngine, message, tool_call
from llm_server.conversation import Conversation, Freeform, GenerationRequest, Tool, UserText
from llm_server.events import collect
from llm_server.explain import explain
from llm_server.generation import Generator
from llm_server.harmony.encoding import END, RETURN, encode
from llm_server.harmony.recordings import Recordings

ASKED = GenerationRequest(Conversation((UserText("Hello"),), (Tool("get_weather"),)))


async def record(recordings: Recordings, engine: ScriptedEngine, asked: GenerationRequest = ASKED) -> str:
    generator = Generator(engine, request_timeout=60, recordings=recordings)
    return (await collect(await generator.start(asked))).finish.reason


async def test_a_request_is_written_as_explain_reads_it(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "recorded")
    tokens = tool_call("get_weather", '{"city": "Oslo"}')
    await record(recordings, ScriptedEngine(tokens))
    await record(recordings, ScriptedEngine(tokens), replace(ASKED, max_tokens=len(tokens) - 4))
    assert stat.S_IMODE(recordings.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(recordings.path.stat().st_mode) == 0o600
    output = io.StringIO()
    assert explain(recordings.path.read_text().splitlines(), output, ()) == 0
    whole, cut = (json.loads(line) for line in output.getvalue().splitlines())
    assert whole["tool_calls"] == [{"name": "get_weather", "arguments": '{"city": "Oslo"}'}]
    assert whole["finish_reason"] == "tool_calls"
    assert cut["finish_reason"] == "length"


async def test_a_request_that_a_stop_string_ended_is_explained_as_it_was_answered(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    engine = ScriptedEngine([*message("analysis", "Elm or oak?", END), *message("final", "An elm. An oak.", RETURN)])
    await record(recordings, engine, replace(ASKED, stop=("oak", ". An")))
    output = io.StringIO()
    explain(recordings.path.read_text().splitlines(), output, ())
    found = json.loads(output.getvalue())
    assert (found["content"], found["finish_reason"]) == ("An elm", "stop")


async def test_tools_of_plain_text_and_unframed_prompts_are_told_as_such(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    patch = Tool("patch", freeform=Freeform())
    await record(
        recordings,
        ScriptedEngine(message("final", "Elm.", RETURN)),
        replace(ASKED, conversation=Conversation((UserText("Hello"),), (patch,))),
    )
    await record(
        recordings, ScriptedEngine(message("final", "Elm.", RETURN)), replace(ASKED, raw=tuple(encode("The tree is")))
    )
    framed, raw = map(json.loads, recordings.path.read_text().splitlines())
    assert framed["tools"] == [{"type": "custom", "name": "patch"}]
    assert [framed["unframed"], raw["unframed"]] == [False, True]


async def test_a_request_that_was_given_up_is_written_once(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    engine = ScriptedEngine([*message("analysis", "Think.", END), Hang()])
    generation = await Generator(engine, request_timeout=60, recordings=recordings).start(ASKED)
    await anext(generation)
    await generation.aclose()
    await generation.aclose()
    [line] = recordings.path.read_text().splitlines()
    assert json.loads(line)["truncated"] is True


async def test_a_disk_that_can_not_be_written_costs_no_request(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    recordings = Recordings(tmp_path / "file" / "folder")
    reason = await record(recordings, ScriptedEngine(tool_call("get_weather", "{}")))
    assert reason == "tool_calls"
    assert recordings.lost == 1
