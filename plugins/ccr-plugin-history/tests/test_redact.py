"""What looks like a secret is cut; what does not stays as it is."""

from __future__ import annotations

import json

import pytest
from ccr_plugin_history.redact import bare, redact


@pytest.mark.parametrize(
    "text",
    [
        "wrong key sk-proj-AbCdEf0123456789AbCdEf",
        "Authorization: Bearer abcdef0123456789abcdef",
        "key AIzaSyA0123456789abcdefghij",
        "gsk_0123456789abcdefghij and ghp_0123456789abcdefghij",
        "token eyJhbGciOiJIUzI10123456789.eyJzdWIiOiIxMjM0",
        '{"api_key": "0123456789"}',
        '{"x-api-key":"0123456789","model":"m"}',
        json.dumps({"text": json.dumps({"client_secret": "0123456789"})}),
        "{'access_token': '0123456789'}",
        "export ANTHROPIC_API_KEY=0123456789",
        'run "TOKEN=0123456789;"',
        "-----BEGIN RSA PRIVATE KEY-----\n0123456789\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\\n0123456789",
        json.dumps({"text": "keys:\nsk-proj-AbCdEf0123456789AbCdEf"}),
        json.dumps(json.dumps({"text": "keys:\tsk-proj-AbCdEf0123456789AbCdEf"})),
        r'{"text": "\u003csk-proj-AbCdEf0123456789AbCdEf"}',
    ],
)
def test_secrets(text: str) -> None:
    """The usual forms of keys, and fields that are called like secrets, lose what is secret in them."""
    got = redact(text)

    assert "0123456789" not in got
    assert "…" in got


@pytest.mark.parametrize(
    "text",
    [
        '{"max_tokens": 1000, "input_tokens": 5, "messages": [{"role": "user", "content": "my password is lost"}]}',
        "the key of the matter, and tokens in plenty",
        '{"tool_use_id": "toolu_0123456789abcdefghij", "id": "msg_0123456789abcdef"}',
        "sk-1 is short",
    ],
)
def test_plain_words(text: str) -> None:
    """Words about keys are no keys."""
    assert text == redact(text)


@pytest.mark.parametrize("text", ["a-", "\\", "\\\\a", '"a-', "secret", '"secret', "TOKEN-", '\\"', "-----BEGIN A "])
def test_what_nearly_is_a_secret_costs_no_more_than_its_length(text: str) -> None:
    """Bodies come from anywhere: a hundred kB of half a secret do not hold up the process (they took minutes)."""
    text *= 100_000 // len(text)

    assert text == redact(text)


def test_json_stays_json() -> None:
    """What was JSON can be read as JSON afterwards."""
    body = {"messages": [{"content": "API_KEY=abcdef0123456789 \"password\": \"x\" 'secret': 'y'"}], "api_key": "abc"}

    assert {"messages", "api_key"} == json.loads(redact(json.dumps(body))).keys()


def test_bare() -> None:
    """A URL keeps where it leads, and nothing else."""
    assert "https://api.example:8443/v1/models/m:go" == bare("https://u:p@api.example:8443/v1/models/m:go?key=abc#top")
