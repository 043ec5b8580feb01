"""Signing in to GitHub Copilot, and signing its requests.

GitHub's device grant gives a GitHub token that does not end; it is exchanged for a token of the Copilot API that holds
for half an hour and says at which host to use it.  In the accounts the former is the refresh token, the latter the
access token.  Source: public clients of the service, 2026.  Everything that ages is an option.
"""

from __future__ import annotations

import datetime
import fnmatch
import re
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

import attrs

from ccr_core import (
    JSON,
    AccountError,
    Auth,
    AuthError,
    AuthOptions,
    CcrError,
    Flow,
    Headers,
    Limited,
    Now,
    OfferedModel,
    Token,
    UpstreamError,
    Window,
    WireReply,
    WireRequest,
    Wish,
    account_id,
    answer_of,
    device_login,
    error_text,
    get_call,
    loads,
    post_call,
    retry_after,
)

MODELS_SECONDS = 3600.0
"""How long the list of models is kept."""

_ENDPOINTS = (("/v1/messages", "messages"), ("/responses", "responses"))
"""What the list of models calls an endpoint, and what we do; the one that needs least translation first."""

_PATHS = ("/chat/completions", "/responses", "/v1/messages")


@attrs.frozen(kw_only=True)
class Options(AuthOptions):
    """``mode``: ``exchange`` (GitHub token for Copilot token) or ``direct`` (the GitHub token itself).

    ``host`` is GitHub's, or that of an enterprise; ``login_base``, ``github_api`` and ``exchange_url`` follow from it.
    """

    client_id: str = "Iv1.b507a08c87ecfe98"
    mode: Literal["exchange", "direct"] = "exchange"
    scope: str = "read:user"
    host: str = "github.com"
    login_base: str | None = None
    github_api: str | None = None
    exchange_url: str | None = None
    editor_version: str = "vscode/1.104.3"
    plugin_version: str = "copilot-chat/0.26.7"
    user_agent: str = "GitHubCopilotChat/0.26.7"
    integration_id: str = "vscode-chat"
    api_version: str = "2025-04-01"
    messages_api_version: str = "2026-06-01"
    betas: tuple[str, ...] = ("interleaved-thinking-2025-05-14",)

    @property
    def login(self) -> str:
        """Where users sign in."""
        return (self.login_base or f"https://{self.host}").rstrip("/")

    @property
    def api(self) -> str:
        """GitHub's API."""
        return (self.github_api or f"https://api.{self.host}").rstrip("/")

    @property
    def exchange(self) -> str:
        """Where a GitHub token is exchanged."""
        return self.exchange_url or f"{self.api}/copilot_internal/v2/token"


class Copilot(Auth[Options]):
    """GitHub Copilot."""

    methods: ClassVar[tuple[str, ...]] = ("device",)
    skew: ClassVar[float] = 120.0

    # Flows.

    def login(self, wish: Wish) -> Flow[Token]:
        """Ask for a code, wait until the user has typed it, find out who it was, exchange the token."""
        options = self.options
        body = yield from device_login(
            f"{options.login}/login/device/code",
            f"{options.login}/login/oauth/access_token",
            {"client_id": options.client_id, "scope": options.scope},
            what="GitHub",
        )
        now = yield Now()
        github = str(body["access_token"])
        data: JSON = {"host": options.host, "mode": options.mode}
        if body.get("refresh_token"):
            data["github_refresh"] = str(body["refresh_token"])
            data["github_expires"] = now + float(body.get("expires_in") or 8 * 3600)
        user = answer_of((yield get_call(f"{options.api}/user", self._github(github))), "GitHub")
        name = str(user.get("login") or user.get("id") or "")
        if not name:
            raise AuthError("GitHub did not say who has signed in")
        where = "" if options.host == "github.com" else f" at {options.host}"
        token = Token(
            access=github,
            refresh=github,
            account=account_id(f"{name}@{options.host}"),
            label=f"{name}{where}",
            scopes=tuple(str(body.get("scope") or "").replace(",", " ").split()),
            data=data,
        )
        return (yield from self.refresh(token))

    def refresh(self, token: Token) -> Flow[Token]:
        """Exchange the GitHub token anew, and look at the models once an hour."""
        now = yield Now()
        data = dict(token.data)
        github = token.refresh or ""
        ends = data.get("github_expires")
        if data.get("github_refresh") and isinstance(ends, (int, float)) and now > ends - 300:
            github = yield from self._renew_github(data, now)
        if (data.get("mode") or self.options.mode) == "direct":
            api = self.options.api_base or self._direct_base()
            made = attrs.evolve(token, access=github, refresh=github, expires=None, obtained=now)
            if ends is not None:
                made = attrs.evolve(made, expires=float(data["github_expires"]))
        else:
            reply: WireReply = yield get_call(self.options.exchange, self._github(github))
            body = _exchanged(reply)
            api = self._base(body.get("endpoints"))
            data["sku"] = body.get("sku")
            made = attrs.evolve(
                token,
                access=str(body["token"]),
                refresh=github,
                expires=float(body.get("expires_at") or now + 1500),
                obtained=now,
            )
        data["api_base"] = api
        made = attrs.evolve(made, data=data)
        if now - float(data.get("models_at") or 0) >= MODELS_SECONDS:
            try:
                listed = yield from self._list(made)
                data |= {"models": {str(each["id"]): _facts(each) for each in listed}, "models_at": int(now)}
            except CcrError:
                pass  # the sign-in is good without it; models are then asked by the usual endpoint
        return made

    def models(self, token: Token) -> Flow[list[OfferedModel]]:
        """What the account may use, the picker's choice first."""
        listed = yield from self._list(token)
        found = []
        for each in sorted(listed, key=lambda each: each.get("model_picker_enabled") is False):
            limits = _limits(each)
            multiplier = (each.get("billing") or {}).get("multiplier")
            state = (each.get("policy") or {}).get("state")
            notes = [f"{multiplier:g}x" if isinstance(multiplier, (int, float)) else ""]
            notes.append("enable it in the settings of Copilot" if state == "unconfigured" else "")
            found.append(
                OfferedModel(
                    id=str(each["id"]),
                    name=str(each.get("name") or ""),
                    levels=tuple((_of(each, "supports").get("reasoning_effort")) or ()),
                    context=limits.get("max_prompt_tokens") or limits.get("max_context_window_tokens"),
                    max_output=limits.get("max_output_tokens"),
                    note=", ".join(filter(None, notes)),
                )
            )
        return found

    def usage(self, token: Token) -> Flow[list[Window]]:
        """The plan's quotas."""
        reply = yield get_call(f"{self.options.api}/copilot_internal/user", self._github(token.refresh or ""))
        body = answer_of(reply, "GitHub")
        resets = _date(str(body.get("quota_reset_date") or ""))
        found = []
        for name, quota in (body.get("quota_snapshots") or {}).items():
            left = quota.get("percent_remaining") if isinstance(quota, dict) else None
            if isinstance(left, (int, float)) and not quota.get("unlimited"):
                found.append(Window(name=name.replace("_", " "), used=_share(100 - left), resets=resets))
        return found

    def revoke(self, token: Token) -> Flow[str]:
        """GitHub has no way for such programs to end it."""
        yield from ()
        return f"to end the permission itself, see https://{self.options.host}/settings/applications"

    def _list(self, token: Token) -> Flow[list[JSON]]:
        base = str(token.data.get("api_base") or self._base(None))
        headers = {"authorization": f"Bearer {token.access}", **self._api_headers(token)}
        body = answer_of((yield get_call(f"{base}/models", headers)), "GitHub Copilot")
        return [
            each
            for each in body.get("data") or ()
            if isinstance(each, dict)
            and each.get("id")
            and _of(each).get("type", "chat") == "chat"
            and (each.get("policy") or {}).get("state") != "disabled"
        ]

    def _renew_github(self, data: JSON, now: float) -> Flow[str]:
        form = {
            "client_id": self.options.client_id,
            "grant_type": "refresh_token",
            "refresh_token": str(data["github_refresh"]),
        }
        reply = yield post_call(f"{self.options.login}/login/oauth/access_token", form=form)
        body = loads(reply.body) if reply.status == 200 else None
        if isinstance(body, dict) and body.get("error") == "bad_refresh_token":
            raise AccountError("GitHub does not accept this sign-in any more")
        body = answer_of(reply, "GitHub")
        data["github_refresh"] = body.get("refresh_token") or data["github_refresh"]
        data["github_expires"] = now + float(body.get("expires_in") or 8 * 3600)
        return str(body["access_token"])

    # Requests.

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """Sign it, send it to the account's own host, and fit it to the model."""
        if token is None:
            raise AuthError("nobody is signed in to copilot. Run: ccr auth login copilot")
        base = token.data.get("api_base")
        path = next((path for path in _PATHS if wire.url.endswith(path)), None)
        url = f"{base}{path}" if base and path and not self.options.api_base else wire.url
        headers = {**wire.headers, **self._api_headers(token), "authorization": f"Bearer {token.access}"}
        if path == "/v1/messages":
            headers |= {
                "openai-intent": "messages-proxy",
                "x-interaction-type": "messages-proxy",
                "x-github-api-version": self.options.messages_api_version,
            }
            named = [beta.strip() for beta in headers.get("anthropic-beta", "").split(",")]
            betas = [beta for beta in named if beta in self.options.betas]
            headers.pop("anthropic-beta", None)
            if betas:
                headers["anthropic-beta"] = ",".join(betas)
        return attrs.evolve(wire, url=url, headers=headers, body=_fitted(wire.body, token))

    def endpoint(self, model: str, token: Token | None) -> str | None:
        """As the list of models has it: the Messages API before Responses before chat completions."""
        facts = _known(token, model)[1]
        offered = facts.get("endpoints") or ()
        return next((name for path, name in _ENDPOINTS if path in offered), None)

    def observe(self, headers: Headers) -> Sequence[Window]:
        """Quotas, from ``x-quota-snapshot-<name>: ent=…&rem=<percent>&rst=<date>``."""
        found = []
        for name, value in headers.items():
            if name.startswith("x-quota-snapshot-"):
                fields = {key: values[0] for key, values in parse_qs(value).items()}
                try:
                    left = float(fields["rem"])
                except (KeyError, ValueError):
                    continue
                if fields.get("ent") == "-1":
                    continue  # unlimited
                label = name.removeprefix("x-quota-snapshot-").replace("_", " ")
                found.append(Window(name=label, used=_share(100 - left), resets=_date(fields.get("rst", ""))))
        return found

    def amend(self, wire: WireRequest, reply: WireReply) -> WireRequest | None:
        """Without beta names, if one of them is not known."""
        if reply.status == 400 and "anthropic-beta" in wire.headers and b"beta" in reply.body:
            headers = {name: value for name, value in wire.headers.items() if name != "anthropic-beta"}
            return attrs.evolve(wire, headers=headers)
        return None

    def refused(self, reply: WireReply, error: UpstreamError) -> CcrError:
        """Tell a plan that is used up from a limit that passes, and say what helps."""
        words = error_text(reply)
        if reply.status in (402, 429) and re.search(
            r"quota_exceeded|premium request|exceeded your .*allowance", _raw(reply)
        ):
            return Limited(f"the Copilot plan is used up: {words}", self._restored(reply.headers))
        if "model_max_prompt_tokens_exceeded" in _raw(reply) and not error.message.startswith("prompt is too long"):
            return UpstreamError(f"prompt is too long: {words}", 400)
        if "model_not_supported" in _raw(reply):
            return UpstreamError(f"{words}; ccr auth models copilot lists the models of the account", 404)
        if reply.status == 466:
            return UpstreamError(f"{words}; Copilot wants a newer client: set oauth.copilot.editor_version", 400)
        return error

    def _restored(self, headers: Headers) -> float | None:
        """Seconds until a used-up plan can be used again, as far as a refusal says that.

        Without it nothing is made up: the account then rests briefly, and longer each time.
        """
        given = retry_after(headers)
        resets = [window.resets for window in self.observe(headers) if window.used >= 1 and window.resets is not None]
        return given if given is not None or not resets else max(1.0, max(resets) - time.time())

    def _github(self, token: str) -> dict[str, str]:
        options = self.options
        headers = {"authorization": f"token {token}", "accept": "application/json"}
        if options.mode == "direct":
            return headers
        return {
            **headers,
            "editor-version": options.editor_version,
            "editor-plugin-version": options.plugin_version,
            "user-agent": options.user_agent,
            "x-github-api-version": options.api_version,
            "x-vscode-user-agent-library-version": "electron-fetch",
        }

    def _api_headers(self, token: Token) -> dict[str, str]:
        options = self.options
        if (token.data.get("mode") or options.mode) == "direct":
            return {"openai-intent": "conversation-edits"}
        return {
            "copilot-integration-id": options.integration_id,
            "editor-version": options.editor_version,
            "editor-plugin-version": options.plugin_version,
            "user-agent": options.user_agent,
            "openai-intent": "conversation-panel",
            "x-github-api-version": options.api_version,
            "x-vscode-user-agent-library-version": "electron-fetch",
        }

    def _direct_base(self) -> str:
        host = self.options.host
        return "https://api.githubcopilot.com" if host == "github.com" else f"https://copilot-api.{host}"

    def _base(self, endpoints: Any) -> str:
        """The account's own API, if the vendor names one that is the vendor's."""
        if self.options.api_base:
            return self.options.api_base.rstrip("/")
        given = str(endpoints.get("api") or "") if isinstance(endpoints, dict) else ""
        parts = urlsplit(given)
        host = (parts.hostname or "").lower()
        ours = fnmatch.fnmatchcase(host, "*.githubcopilot.com") or host == f"copilot-api.{self.options.host}"
        if (parts.scheme == "https" and ours) or (given and self.options.allow_custom_host):
            return given.rstrip("/")
        return self._direct_base()


def _exchanged(reply: WireReply) -> JSON:
    """The answer of the exchange; its refusals are for good."""
    if reply.status == 401:
        raise AccountError("GitHub does not accept this sign-in any more")
    if reply.status in (403, 404):
        body = loads(reply.body) if reply.body[:1] == b"{" else {}
        details = body.get("error_details") if isinstance(body, dict) else None
        words = [error_text(reply)]
        if isinstance(details, dict):
            words = [str(details[name]) for name in ("message", "notification_url") if details.get(name)] or words
        raise AccountError(f"this GitHub account cannot use Copilot: {' '.join(words)[:400]}", "disabled")
    body = answer_of(reply, "GitHub Copilot")
    if not body.get("token"):
        raise UpstreamError("GitHub Copilot answered without a token")
    return body


def _raw(reply: WireReply) -> str:
    return reply.body[:8000].decode("utf-8", "replace")


def _of(model: JSON, part: str | None = None) -> JSON:
    found = model.get("capabilities") or {}
    found = found.get(part) or {} if part else found
    return found if isinstance(found, dict) else {}


def _limits(model: JSON) -> JSON:
    return {name: value for name, value in _of(model, "limits").items() if isinstance(value, int)}


def _facts(model: JSON) -> JSON:
    """What is kept of a model."""
    facts: JSON = {"endpoints": [str(each) for each in model.get("supported_endpoints") or ()]}
    if _limits(model).get("max_output_tokens"):
        facts["max_output"] = _limits(model)["max_output_tokens"]
    return facts


def _known(token: Token | None, model: str) -> tuple[str, JSON]:
    """The vendor's name of a model and what is known of it; ``claude-opus-4-6`` is its ``claude-opus-4.6``."""
    models = token.data.get("models") if token is not None else None
    if isinstance(models, dict):
        for name in (model, re.sub(r"-(\d+)-(\d)(?!\d)", r"-\1.\2", model)):
            facts = models.get(name)
            if isinstance(facts, dict):
                return name, facts
    return model, {}


def _fitted(body: JSON | None, token: Token) -> JSON | None:
    if body is None:
        return None
    name, facts = _known(token, str(body.get("model") or ""))
    changed = {**body, "model": name}
    for field in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        if field in changed:
            if name.startswith("gpt"):
                del changed[field]  # as the vendor's own clients do
            elif facts.get("max_output"):
                changed[field] = min(changed[field], facts["max_output"])
    return changed


def _share(percent: float) -> float:
    return min(1.0, max(0.0, percent / 100))


def _date(text: str) -> float | None:
    try:
        at = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()
