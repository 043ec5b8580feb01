"""The two ends of an exchange: what the base classes do by themselves."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ccr_core import Context, Dialect, Ingress, Outcome, Request, Target, WireReply, error_text
from ccr_core.sse import SseParser

CONTEXT = Context(exchange_id="1", target=Target(provider="p", model="m", base_url="http://localhost"))
REQUEST = Request({})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"message": "too long", "type": "invalid"}}, "too long"),
        ({"type": "error", "error": {"type": "x", "message": "too long"}}, "too long"),
        ({"error": "no such model"}, "no such model"),
        ({"error": {"error": {"message": "deep"}}}, "deep"),
        ({"message": "plain"}, "plain"),
        ({"Message": "capital"}, "capital"),
        ({"detail": "not found"}, "not found"),
        ({"detail": [{"loc": ["body"], "msg": "required"}]}, '[{"loc":["body"],"msg":"required"}]'),
        ([{"error": {"message": "in a list"}}], "in a list"),
        ({"error": {"code": 5}}, '{"code":5}'),
        ({"error": None, "message": "beside"}, "beside"),
        ({"other": 1}, '{"other":1}'),
        ([], "[]"),
        (5, "5"),
        ("text", "text"),
    ],
)
def test_error_text(body: Any, expected: str) -> None:
    """The provider's words are found in every shape that services use; another shape is shown as it is."""
    assert expected == error_text(WireReply(status=400, body=orjson.dumps(body)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html><style>x{}</style><h1>Bad</h1> gateway</html>\n", "a page: Bad gateway"),
        (b"caf\xe9", "caf\ufffd"),
        (b"", "the provider answered with status 502 and no text"),
        (b" \n", "the provider answered with status 502 and no text"),
        (b'""', "the provider answered with status 502 and no text"),
        (b"x" * 5000, "x" * 2000),
    ],
    ids=["HTML", "other encoding", "empty", "blank", "empty text", "long"],
)
def test_error_text_without_json(body: bytes, expected: str) -> None:
    """Text that is no JSON is shown, within bounds; a message is never empty."""
    assert expected == error_text(WireReply(status=502, body=body))


def test_decode_error() -> None:
    """A refusal keeps its status, its words, and what tells the client when to try again."""
    reply = WireReply(
        status=429, headers={"retry-after": "7", "server": "x"}, body=b'{"error": {"message": "slow down"}}'
    )

    error = Dialect().decode_error(reply)

    assert (429, "rate_limit_error", "slow down", {"retry-after": "7"}) == (
        error.status,
        error.kind,
        error.message,
        error.headers,
    )


def test_defaults_of_a_dialect() -> None:
    """A dialect reads server-sent events, sends its key as a bearer token, and passes no bytes on unread."""
    dialect = Dialect()

    assert (SseParser, "bearer", None) == (type(dialect.framing()), dialect.key_style, dialect.options)
    assert dialect.relay(REQUEST, CONTEXT, Outcome()) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: Dialect().encode(REQUEST, CONTEXT),
        lambda: Dialect().decoder(REQUEST, CONTEXT),
        lambda: Dialect().decode_body({}, REQUEST, CONTEXT),
        lambda: Ingress().decode(b"", {}),
        lambda: Ingress().encoder(REQUEST),
        lambda: Ingress().encode_message({}, REQUEST),
        lambda: Ingress().encode_error(Dialect().decode_error(WireReply(status=500))),
        lambda: Ingress().encode_count(1),
    ],
)
def test_what_has_no_default(call: Any) -> None:
    """What only a plugin can know has no default that could pass for an answer."""
    with pytest.raises(NotImplementedError):
        call()


def test_notes_may_be_ignored() -> None:
    """A context without a place for notes takes them all the same."""
    assert None is CONTEXT.note("key", "value")  # type: ignore[func-returns-value]
