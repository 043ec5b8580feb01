"""The gate, the routes that are not about models, and the process."""

from __future__ import annotations

import socket

import pytest
from toy import ask, call, calling, stream, toy_app, toy_config, toy_runtime

from ccr_core import ConfigError
from ccr_core.config import Limits
from ccr_core.server import bind_address, create_app, listen

PATHS = [("POST", "/toy"), ("POST", "/toy/count"), ("GET", "/v1/models"), ("GET", "/api/status"), ("GET", "/nothing")]
OPEN = [("GET", "/"), ("HEAD", "/"), ("GET", "/health"), ("HEAD", "/api/hello")]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": "wrong"},
        {"authorization": "Bearer wrong"},
        {"x-ccr-key": "wrong"},
        {"x-api-key": "", "x-ccr-key": ""},
    ],
)
async def test_nothing_answers_without_the_key(method: str, path: str, headers: dict[str, str]) -> None:
    """
    With an APIKEY every route but the open ones wants it, also routes that do not exist.
    """
    app, sender = toy_app(apikey="secret")

    got = await call(app, method, path, ask(), headers)

    assert 401 == got.status
    assert [] == sender.sent


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "secret"},
        {"authorization": "Bearer secret"},
        {"x-ccr-key": "secret", "authorization": "Bearer of-somebody-else", "x-api-key": "another"},
    ],
)
async def test_the_key_is_taken_from_either_header(headers: dict[str, str]) -> None:
    """
    Both ways in which clients send a key are understood.
    """
    app, _ = toy_app(apikey="secret")

    assert 200 == (await call(app, "POST", "/toy/count", ask(), headers)).status


@pytest.mark.parametrize(("method", "path"), OPEN)
async def test_open_routes_answer_anyone(method: str, path: str) -> None:
    """
    Health and greeting need no key, and tell no secret.
    """
    app, _ = toy_app(apikey="secret")

    got = await call(app, method, path)

    assert 200 == got.status
    assert b"secret" not in got.body
    assert b"key-of-toy" not in got.body


@pytest.mark.parametrize(("method", "path"), [*PATHS, *OPEN])
@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:3456", "127.0.0.1.evil.example", "", "0.0.0.0", "127.0.0.1:1, evil.example"),
        *("127.0.0.1:1@evil.example", "127.0.0.1:x", "[::1]evil.example", "[::1", "::1"),
    ],
)
async def test_foreign_host_is_refused_on_every_route(method: str, path: str, host: str) -> None:
    """
    A page whose name was pointed at this machine gets nothing.
    """
    app, sender = toy_app()

    got = await call(app, method, path, ask(), {"host": host})

    assert 403 == got.status
    assert [] == sender.sent


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:3456", "LOCALHOST"])
async def test_loopback_names_are_served(host: str) -> None:
    """
    Every way to write this machine is accepted.
    """
    app, _ = toy_app()

    assert 200 == (await call(app, "GET", "/health", headers={"host": host})).status


@pytest.mark.parametrize(("method", "path"), [*PATHS, *OPEN])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:3457"])
async def test_foreign_origin_is_refused_on_every_route(method: str, path: str, origin: str) -> None:
    """
    A page from elsewhere may not use the router, and is given no permission to read an answer.
    """
    app, _ = toy_app()

    got = await call(app, method, path, ask(), {"origin": origin})

    assert 403 == got.status
    assert not any(name.startswith("access-control") for name in got.headers)


async def test_own_origin_passes() -> None:
    """
    The router's own pages are not foreign.
    """
    app, _ = toy_app()
    assert 200 == (await call(app, "GET", "/health", headers={"origin": "http://127.0.0.1:3456"})).status


async def test_with_a_key_and_an_open_bind_any_host_is_served() -> None:
    """
    A router that listens to the network on purpose is reached by any of its names, with the key.
    """
    app, _ = toy_app(apikey="secret", host="0.0.0.0")

    headers = {"host": "router.example", "x-api-key": "secret"}
    assert 200 == (await call(app, "POST", "/toy/count", ask(), headers)).status


async def test_body_limit() -> None:
    """
    A body over the limit is refused, announced or not.
    """
    app, _ = toy_app(limits=Limits(body_mb=0.001))

    announced = await call(app, "POST", "/toy", b"x", {"content-length": "100000"})
    unannounced = await call(app, "POST", "/toy", b"x" * 100_000)

    assert [413, 413] == [announced.status, unannounced.status]


async def test_header_limit() -> None:
    """
    Headers over the limit are refused.
    """
    app, _ = toy_app(limits=Limits(header_kb=1))
    assert 431 == (await call(app, "POST", "/toy", ask(), {"x-long": "x" * 2000})).status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_model_endpoints_take_post_only(method: str) -> None:
    """
    Another method is told so.
    """
    app, _ = toy_app()
    assert 405 == (await call(app, method, "/toy")).status


async def test_unknown_path() -> None:
    """
    What is not in the table does not exist.
    """
    app, _ = toy_app()

    got = await call(app, "GET", "/v1/nothing")

    assert (404, "not_found_error") == (got.status, got.json["error"]["type"])


async def test_models_are_listed_for_both_kinds_of_clients() -> None:
    """
    GET /v1/models has what Anthropic's and OpenAI's clients look for; one model can be asked for.
    """
    app, _ = toy_app()

    listed = await call(app, "GET", "/v1/models")
    one = await call(app, "GET", "/v1/models/spare,m")
    none = await call(app, "GET", "/v1/models/nobody,m")

    ids = ["toy,m", "claude-ccr/toy,m", "spare,m", "claude-ccr/spare,m"]
    assert ids == [model["id"] for model in listed.json["data"]]
    assert (False, "list") == (listed.json["has_more"], listed.json["object"])
    assert ("m (spare)", "model") == (one.json["display_name"], one.json["type"])
    assert 404 == none.status


async def test_counting_is_local() -> None:
    """
    Counting tokens sends nothing anywhere.
    """
    app, sender = toy_app()

    got = await call(app, "POST", "/toy/count", ask("word " * 100))

    assert 50 < got.json["tokens"] < 300
    assert [] == sender.sent


async def test_malformed_request() -> None:
    """
    A body that is no JSON object is the client's error, in the client's format.
    """
    app, _ = toy_app()
    for body in (b"", b"{", b"[]", b'"x"', b"{}"):
        assert 400 == (await call(app, "POST", "/toy", body)).status
        assert 400 == (await call(app, "POST", "/toy/count", body)).status


async def test_runtime_can_be_swapped_under_running_streams() -> None:
    """
    A stream that began before a reload ends on what it began with; new requests use the new runtime.
    """
    app, _ = toy_app(stream(b'data: {"text":"a"}\n\n', 0.05, b'data: {"end":true}\n\n'))

    async with calling(app, "POST", "/toy", ask(stream=True)) as (got, _hang_up):
        await got.until(lambda: got.writes)
        app.swap(toy_runtime(apikey="new"))
        assert 401 == (await call(app, "POST", "/toy", ask())).status
        await got.until(lambda: got.ended)

    assert ["MessageStop"] == got.lines[-1]


def test_without_a_key_only_loopback_is_bound() -> None:
    """
    HOST is followed only when there is a key.
    """
    assert "127.0.0.1" == bind_address(toy_config(host="0.0.0.0"))
    assert "127.0.0.1" == bind_address(toy_config(), "192.0.2.1")
    assert "0.0.0.0" == bind_address(toy_config(host="0.0.0.0", apikey="k"))
    assert "::1" == bind_address(toy_config(host="::1"))


def test_port_that_is_taken() -> None:
    """
    A port held by another program is an error that names it.
    """
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)


async def test_lifespan() -> None:
    """
    The end of the process closes the connections to providers.
    """
    app = create_app(toy_runtime())
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []
    ready: list[bool] = []
    app.on_ready = lambda: ready.append(True)

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(message: object) -> None:
        sent.append(message["type"])  # type: ignore[index]

    await app({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent
    assert [True] == ready


async def test_alias_of_a_model_leads_to_it() -> None:
    """
    The name under which Claude Code's picker shows a model is routed like the model's own.
    """
    app, sender = toy_app(stream(b'data: {"text":"a"}\n\n', b'data: {"end":true}\n\n'))

    got = await call(app, "POST", "/toy", ask(model="claude-ccr/spare,m", stream=True))

    assert got.headers["x-ccr-route"].startswith("spare,m;")
    assert "m" == sender.sent[0][1]["model"]
