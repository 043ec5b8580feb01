"""Signing requests to a provider: API keys here, other schemes in plugins.  Sans-IO.

A scheme turns a request and a token into a signed request.  How a token is got and renewed is the scheme's too, as a
conversation: a *flow* is a generator that yields what it wants done (:class:`Call`, :class:`OpenUrl`,
:class:`ShowCode`, …), is sent the answers, and returns a :class:`Token`.  It opens no connection, starts no browser and
reads no clock, so the terminal, a web page and a test can all hold the same conversation.

Where tokens are kept, when they are renewed, and which account is used, is the core's business.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import attrs

from ccr_core.dialect import WireReply, WireRequest
from ccr_core.errors import AuthError, CcrError, ConfigError, UpstreamError
from ccr_core.messages import Headers

O = TypeVar("O")  # noqa: E741 - the options of a scheme
T = TypeVar("T")

KEY_STYLES: dict[str, tuple[str, str]] = {
    "bearer": ("authorization", "Bearer {}"),
    "x-api-key": ("x-api-key", "{}"),
    "api-key": ("api-key", "{}"),
    "x-goog-api-key": ("x-goog-api-key", "{}"),
}
"""How services take an API key: style → header and form of its value."""


@attrs.frozen(kw_only=True)
class Token:
    """A credential.

    ``expires`` and ``obtained`` are Unix times in seconds; ``expires`` is ``None`` for never.  ``account`` is the
    account's id (:func:`ccr_core.account_id`), ``label`` what its owner knows it by, such as an e-mail address.
    ``data`` is the scheme's own: a JSON object, kept with the token.
    """

    access: str = attrs.field(repr=False)
    refresh: str | None = attrs.field(default=None, repr=False)
    expires: float | None = None
    account: str | None = None
    label: str = attrs.field(default="", repr=False)
    scopes: tuple[str, ...] = ()
    obtained: float | None = None
    data: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Key:
    """One of a provider's credentials.  ``id`` is for people and never secret; ``weight`` is its share of turns."""

    id: str
    token: Token
    weight: float = 1.0


class AccountError(AuthError):
    """An account cannot be used until its owner does something; the message says what.

    ``state`` is what the account is marked with: ``needs_login``, ``validation_required`` (the vendor wants to see the
    owner, at an address in the message) or ``disabled`` (the vendor has closed it to this use).
    """

    def __init__(self, message: str, state: str = "needs_login") -> None:
        super().__init__(message)
        self.state = state
        if state != "needs_login":
            self.status, self.kind = 403, "permission_error"


class Limited(UpstreamError):
    """A limit of an account is reached: status 429.

    ``seconds``: until it may be asked again, if the vendor says so.  ``model_only``: for this model alone.
    ``headers`` are those of the refusal, lower-case names.
    """

    def __init__(
        self,
        message: str,
        seconds: float | None = None,
        *,
        model_only: bool = False,
        headers: Headers | None = None,
    ) -> None:
        waits = {} if seconds is None else {"retry-after": str(max(1, round(seconds)))}
        super().__init__(message, 429, headers={**(headers or {}), **waits})
        self.model_only = model_only


# What flows ask for.


@attrs.frozen
class Call:
    """Send ``wire``; answered with a ``WireReply``.  With ``form`` its body is that form.

    Redirects are not followed.  If there is no answer, ``UpstreamError`` is raised in the flow.
    """

    wire: WireRequest
    form: Mapping[str, str] | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Listen:
    """Receive the browser when the vendor sends it back; answered with the redirect URI to give to the vendor.

    The first free one of ``ports`` is taken (0: any).  ``host`` is how the URI names this machine.  ``state`` is what
    the vendor has to repeat.  ``paste`` is a URI of the vendor that shows a code to copy, used instead where no
    browser can reach this machine.
    """

    state: str = attrs.field(repr=False)
    path: str = "/callback"
    ports: Sequence[int] = (0,)
    host: str = "localhost"
    paste: str | None = None


@attrs.frozen
class OpenUrl:
    """Show the user ``url``, and open it in a browser where there is one."""

    url: str


@attrs.frozen
class AwaitCallback:
    """Wait for what :class:`Listen` has begun, or for what the user pastes instead; answered with the code."""

    seconds: float = 300.0


@attrs.frozen
class ShowCode:
    """Show the user an address and the code to type there; it holds for ``seconds``."""

    url: str
    code: str
    seconds: float = 900.0


@attrs.frozen
class Ask:
    """Ask the user; answered with the text, stripped.  A ``secret`` is not shown while it is typed."""

    text: str
    secret: bool = False


@attrs.frozen
class Say:
    """Tell the user something."""

    text: str


@attrs.frozen
class Sleep:
    """Wait."""

    seconds: float


@attrs.frozen
class Now:
    """Answered with the time, in Unix seconds."""


Command: TypeAlias = Call | Listen | OpenUrl | AwaitCallback | ShowCode | Ask | Say | Sleep | Now

Flow: TypeAlias = Generator[Command, Any, T]
"""A conversation that ends with a ``T``."""


@attrs.frozen(kw_only=True)
class Wish:
    """How the user wants to sign in.

    ``method`` is one of the scheme's ``methods``.  ``headless``: there is no browser on this machine.  ``another``:
    there is an account already, and this shall be another one.
    """

    method: str = ""
    headless: bool = False
    another: bool = False


@attrs.frozen(kw_only=True)
class Window:
    """A limit of an account as the vendor reports it: the share ``used`` (0 to 1), and when it ``resets``."""

    name: str
    used: float
    resets: float | None = None


@attrs.frozen(kw_only=True)
class OfferedModel:
    """A model that an account may use; sizes in tokens."""

    id: str
    name: str = ""
    levels: tuple[str, ...] = ()
    context: int | None = None
    max_output: int | None = None
    note: str = ""


@attrs.frozen(kw_only=True)
class AuthOptions:
    """Settings that every scheme with accounts has (``oauth.<name>`` in the configuration); extend it.

    ``api_base`` replaces the beginning of the service's addresses.  Tokens go only to hosts that the plugin names,
    unless ``allow_custom_host`` is set.  ``headers`` are added to every request for a model.
    """

    api_base: str | None = None
    allow_custom_host: bool = False
    headers: Mapping[str, str] = attrs.field(factory=dict)


class Auth(Generic[O]):
    """A way to sign requests.

    One instance serves a provider for as long as the configuration stands; it keeps nothing of a request.  A scheme
    with API keys has :meth:`apply` only; one with accounts also :meth:`login` and :meth:`refresh`.
    """

    methods: ClassVar[tuple[str, ...]] = ("browser",)
    """Ways to sign in, the usual one first.  ``device`` is taken where there is no browser."""

    skew: ClassVar[float] = 300.0
    """Seconds before its end from which a token is renewed."""

    by_itself: ClassVar[bool] = False
    """Tokens are got without a user (the machine's own credentials): :meth:`refresh` is given an empty token first,
    and what it returns is kept in memory.  For an ``AuthSpec`` that is not ``interactive``."""

    def __init__(self, options: O, provider: str) -> None:
        self.options = options
        self.provider = provider

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """``wire`` signed with ``token``; raise ``AuthError`` naming the command that helps if there is none."""
        raise NotImplementedError

    # Flows.

    def login(self, wish: Wish) -> Flow[Token]:
        """Sign in.  The token that it returns has an ``account``."""
        raise NotImplementedError

    def refresh(self, token: Token) -> Flow[Token]:
        """Renew ``token``, without the user: only :class:`Call`, :class:`Sleep` and :class:`Now` may be asked for.

        Raise ``AccountError`` when the vendor will never take it again, and ``UpstreamError`` for all that may pass.
        """
        raise NotImplementedError

    def revoke(self, token: Token) -> Flow[str]:
        """Tell the vendor that ``token`` is not needed any more; returns what the user should know, or nothing."""
        yield from ()
        return ""

    def models(self, token: Token) -> Flow[list[OfferedModel]]:
        """The models that the account may use."""
        yield from ()
        return []

    def usage(self, token: Token) -> Flow[list[Window]]:
        """The account's limits, asked for."""
        yield from ()
        return []

    # What is read and decided on the way; these must be quick.

    def fresh(self, token: Token, now: float) -> bool:
        """Whether ``token`` may be used without renewing it."""
        return token.expires is None or now < token.expires - self.skew

    def endpoint(self, model: str, token: Token | None) -> str | None:
        """By which of the endpoints of the ``AuthSpec`` ``model`` is reached; ``None`` for the first."""
        return None

    def observe(self, headers: Headers) -> Sequence[Window]:
        """The account's limits as an answer's headers report them."""
        return ()

    def amend(self, wire: WireRequest, reply: WireReply) -> WireRequest | None:
        """What to send instead, once, after a refusal that a changed request may escape; ``wire`` is not signed.

        The reply has status 0 if no connection could be made.
        """
        return None

    def outdated(self, reply: WireReply, token: Token) -> bool:
        """Whether a refusal may come from what was found out at the sign-in (a project, an address) and has changed.

        Then ``token`` is renewed now and then, so :meth:`refresh` should find that out again for one that has not
        ended; the request is sent again if :meth:`apply` makes another one of it.
        """
        return False

    def refused(self, reply: WireReply, error: UpstreamError) -> CcrError:
        """``error``, which is what the dialect made of a refusal, or a better one.

        :class:`Limited` says for how long an account rests, :class:`AccountError` that its owner has to do something.
        """
        return error


class ApiKey(Auth[str]):
    """An API key in a header; ``options`` is one of :data:`KEY_STYLES`."""

    def __init__(self, options: str, provider: str) -> None:
        super().__init__(options, provider)
        if options not in KEY_STYLES:
            raise ConfigError(f"unknown key style {options!r}; known: {', '.join(KEY_STYLES)}")

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """Send the key; no header at all for an empty key, as local servers want it."""
        if token is None:
            raise AuthError(f"no API key for {self.provider}; set its api_key in the configuration")
        if not token.access:
            return wire
        if not token.access.isascii() or not token.access.isprintable() or " " in token.access:
            raise AuthError(f"the API key of {self.provider} has characters that no key has; check its api_key")
        header, form = KEY_STYLES[wire.key_style or self.options]
        if header in wire.headers:
            return wire
        return wire.with_headers({**wire.headers, header: form.format(token.access)})
