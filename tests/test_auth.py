"""API keys."""

from __future__ import annotations

import pytest

from ccr_core import ApiKey, Auth, AuthError, ConfigError, Token, WireRequest
from ccr_core.auth import KEY_STYLES

WIRE = WireRequest(url="http://localhost/v1", headers={"accept": "a"}, body={"model": "m"})


@pytest.mark.parametrize(
    ("style", "header", "value"),
    [
        ("bearer", "authorization", "Bearer k-1"),
        ("x-api-key", "x-api-key", "k-1"),
        ("api-key", "api-key", "k-1"),
        ("x-goog-api-key", "x-goog-api-key", "k-1"),
    ],
)
def test_styles(style: str, header: str, value: str) -> None:
    """Each style puts the key into its header; the rest of the request, and the one given, stay."""
    signed = ApiKey(style, "p").apply(WIRE, Token(access="k-1"))

    assert WireRequest(url=WIRE.url, headers={"accept": "a", header: value}, body=WIRE.body) == signed
    assert {"accept": "a"} == WIRE.headers


def test_every_style_is_tested() -> None:
    """A new style needs a line above."""
    assert {"bearer", "x-api-key", "api-key", "x-goog-api-key"} == set(KEY_STYLES)


def test_unknown_style() -> None:
    """An unknown style is refused with the known ones."""
    with pytest.raises(ConfigError, match="unknown key style 'basic'; known: bearer, x-api-key"):
        ApiKey("basic", "p")


def test_no_key() -> None:
    """Without a key the message names the provider and what to set."""
    with pytest.raises(AuthError, match="no API key for deepseek; set its api_key") as caught:
        ApiKey("bearer", "deepseek").apply(WIRE, None)

    assert 401 == caught.value.status


def test_empty_key() -> None:
    """An empty key, as local servers have it, sends no header."""
    assert WIRE is ApiKey("bearer", "p").apply(WIRE, Token(access=""))


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "k\r\nx-injected: 1"])
def test_broken_key(key: str) -> None:
    """A key that cannot be a header's value is refused, and the message does not show it."""
    with pytest.raises(AuthError) as caught:
        ApiKey("bearer", "p").apply(WIRE, Token(access=key))

    assert "the API key of p has characters that no key has; check its api_key" == caught.value.message


def test_a_header_that_is_there_wins() -> None:
    """A header that the dialect or the configuration set is not replaced."""
    wire = WireRequest(url="http://localhost", headers={"authorization": "Basic x"})

    assert wire is ApiKey("bearer", "p").apply(wire, Token(access="k"))


def test_secrets_are_not_shown() -> None:
    """The text form of a token shows no secret."""
    shown = repr(Token(access="s-1", refresh="s-2", data={"id": "s-3"}, account="me"))

    assert "me" in shown
    assert "s-" not in shown


def test_a_scheme_must_sign() -> None:
    """A scheme has no default way to sign."""
    with pytest.raises(NotImplementedError):
        Auth(None, "p").apply(WIRE, None)
