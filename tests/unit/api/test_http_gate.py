"""Who may come in: hosts, origins and keys, judged by what a client is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import Message

from clients import application, async_client
from fakes import ScriptedEngine, reply

OPENAI_PATHS = ["/v1/models", "/v1/chat/completions"]
PROBES = ["/", "/livez", "/readyz", "/health"]


def client(**values: Any) -> httpx2.AsyncClient:
    return async_client(application(ScriptedEngine(reply("Hm.", "Hi")), **values))


@pytest.mark.parametrize("path", ["/livez", "/v1/models"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:42002", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:42002", 200),
        ("[::1]:42002", 200),
        ("[::1]", 200),
        ("box.lan", 200),
        ("a.example.org:443", 200),
        ("", 403),
        ("localhost.evil", 403),
        ("evil.localhost.com", 403),
        ("evil", 403),
        ("127.0.0.1.evil:42002", 403),
        ("192.168.0.7:42002", 403),
        ("example.org", 403),
        ("user@localhost", 403),
        ("localhost:42002:1", 403),
        ("localhost:port", 403),
        ("::1", 403),
        ("localhost, evil", 403),
    ],
)
async def test_only_own_host_names_are_served(path: str, host: str, status: int) -> None:
    response = await client(allowed_hosts=("box.lan", "*.example.org")).get(path, headers={"host": host})
    assert response.status_code == status


@pytest.mark.parametrize(("path", "status"), [("/metrics", 200), ("/livez", 403), ("/v1/models", 403)])
async def test_a_container_may_ask_its_host_for_metrics_alone(path: str, status: int) -> None:
    response = await client().get(path, headers={"host": "host.docker.internal:42002"})
    assert response.status_code == status


async def test_two_host_headers_are_none() -> None:
    response = await client().get("/livez", headers=[("host", "localhost"), ("host", "localhost")])
    assert response.status_code == 403


@pytest.mark.parametrize(("host", "status"), [("192.168.0.7:42002", 200), ("[fe80::1]", 200), ("evil.com", 403)])
async def test_a_server_on_all_addresses_takes_any_address_but_no_name(host: str, status: int) -> None:
    response = await client(host="0.0.0.0", api_key="k").get("/livez", headers={"host": host})
    assert response.status_code == status


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", 200),
        ("[::1]", 200),
        ("[::ffff:127.0.0.1]", 200),
        ("192.168.0.7", 403),
        ("[fe80::1]", 403),
        ("[::ffff:192.168.0.7]", 403),
    ],
)
async def test_without_a_key_connections_come_over_loopback(address: str, status: int) -> None:
    """Whatever a caller on the network says that it has called."""
    url = f"http://{address}/v1/models"
    assert (await client().get(url, headers={"host": "localhost"})).status_code == status
    key = {"host": "localhost", "x-api-key": "k"}
    assert (await client(api_key="k").get(url, headers=key)).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/v1/models"])
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 200),
        ("https://app.example.org", 200),
        ("http://localhost:3000", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("https://app.example.org.evil", 403),
        ("http://app.example.org", 403),
        ("http://127.0.0.1", 403),
        ("http://localhost:", 403),
        ("http://localhost:3000.evil.example", 403),
    ],
)
async def test_web_pages_call_from_listed_origins_only(path: str, origin: str, status: int) -> None:
    listed = client(cors_origins=("https://app.example.org", "http://localhost:*"))
    response = await listed.get(path, headers={"origin": origin})
    assert response.status_code == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", "http://localhost.evil"])
@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "multipart/form-data"])
async def test_no_foreign_page_reaches_the_model(origin: str, media_type: str) -> None:
    engine = ScriptedEngine(reply("Hm.", "Hi"))
    response = await async_client(application(engine)).post(
        "/v1/chat/completions",
        content=b'{"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Hi"}]}',
        headers={"origin": origin, "content-type": media_type},
    )
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers
    assert engine.submissions == []


async def test_a_preflight_is_answered_for_listed_origins_only() -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, x-stainless-os"}
    listed = client(cors_origins=("https://app.example.org",), api_key="k")
    allowed = await listed.options("/v1/chat/completions", headers={"origin": "https://app.example.org"} | asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
    assert "x-stainless-os" in allowed.headers["access-control-allow-headers"]
    refused = await listed.options("/v1/chat/completions", headers={"origin": "https://evil.example"} | asked)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


async def test_a_listed_page_of_the_internet_may_call_this_machine() -> None:
    """Chrome asks so for a public page that calls a private address, and takes a refusal for one of the request."""
    asked = {"access-control-request-method": "POST", "access-control-request-private-network": "true"}
    listed = client(cors_origins=("https://app.example.org",))
    allowed = await listed.options("/v1/chat/completions", headers={"origin": "https://app.example.org"} | asked)
    assert (allowed.status_code, allowed.headers["access-control-allow-private-network"]) == (200, "true")


async def test_without_listed_origins_no_preflight_succeeds() -> None:
    asked = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    response = await client().options("/v1/chat/completions", headers=asked)
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_a_listed_page_can_read_its_errors() -> None:
    listed = client(cors_origins=("https://app.example.org",), api_key="k")
    response = await listed.get("/v1/models", headers={"origin": "https://app.example.org"})
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "https://app.example.org"


KEY = "sk-local-123"
DOORS = ["/docs", "/openapi.json", "/metrics", "/v1/models/", "/livez/", "/LIVEZ", "//livez"]


@pytest.mark.parametrize("path", OPENAI_PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "")],
        [("authorization", "Bearer ")],
        [("authorization", "Bearer wrong")],
        [("authorization", KEY)],
        [("authorization", f"Basic {KEY}")],
        [("authorization", f"Bearer {KEY} ")],
        [("authorization", f"Bearer  {KEY}")],
        [("authorization", f"Bearer {KEY}x")],
        [("authorization", f"Bearer {KEY[:-1]}")],
        [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")],
        [("authorization", f"Bearer {KEY}"), ("authorization", "Bearer wrong")],
        [("x-api-key", "")],
        [("x-api-key", "wrong")],
        [("x-api-key", "schlüssel")],
        [("x-api-key", f"Bearer {KEY}")],
        [("x-api-key", KEY), ("x-api-key", KEY)],
        [("authorization", "Bearer wrong"), ("x-api-key", "wrong")],
        [("api-key", KEY)],
        [("cookie", f"key={KEY}")],
    ],
)
async def test_a_wrong_key_is_401(path: str, headers: list[tuple[str, str]]) -> None:
    sent = [(name.encode(), value.encode()) for name, value in headers]
    response = await client(api_key=KEY).get(path, headers=sent)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer {KEY}"},
        {"x-api-key": KEY},
        {"authorization": "Bearer wrong", "x-api-key": KEY},
    ],
)
async def test_the_right_key_opens(headers: dict[str, str]) -> None:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    response = await client(api_key=KEY).get("/v1/models", headers=sent)
    assert response.status_code == 200


async def test_a_key_from_a_file_opens(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    guarded = client(api_key_file=file)
    assert (await guarded.get("/v1/models")).status_code == 401
    assert (await guarded.get("/v1/models", headers={"x-api-key": "from-file"})).status_code == 200


@pytest.mark.parametrize("path", PROBES)
async def test_probes_need_no_key(path: str) -> None:
    assert (await client(api_key=KEY).get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/metrics", "/v1/models/", "/livez/", "/LIVEZ"])
async def test_everything_else_needs_one(path: str) -> None:
    assert (await client(api_key=KEY).get(path)).status_code == 401


async def opened(extensions: dict[str, dict[str, Any]]) -> list[Message]:
    """What is sent to a client that opens a WebSocket without a key."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/v1/responses",
        "headers": [(b"host", b"localhost")],
        "subprotocols": [],
        "extensions": extensions,
    }
    await application(ScriptedEngine(), api_key=KEY)(scope, receive, send)
    return sent


async def test_no_websocket_passes_without_a_key() -> None:
    assert await opened({}) == [{"type": "websocket.close", "code": 1008}]


async def test_a_refused_websocket_is_told_why() -> None:
    start, body = await opened({"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert {b"www-authenticate", b"x-request-id"} <= {name for name, _ in start["headers"]}
    assert json.loads(body["body"])["error"]["code"] == "invalid_api_key"
