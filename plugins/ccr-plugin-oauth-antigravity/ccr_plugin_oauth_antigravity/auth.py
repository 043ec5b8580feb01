"""The sign-in ``antigravity``: a Google account, and the project that the service gives it.

Source of the protocol: public projects that speak to the service, autumn 2026; its vendor has published nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import attrs
from ccr_plugin_oauth_gemini import AnyCodeAssist, CodeAssistOptions, answered, unix

from ccr_core import JSON, AuthError, Flow, Now, OfferedModel, Sleep, Token, Window, WireReply, WireRequest

OTHERS = "cloudcode-pa.googleapis.com"
HIDDEN = ("chat_", "tab_")
"""How the names of models begin that are not for conversations."""


@attrs.frozen(kw_only=True)
class AntigravityOptions(CodeAssistOptions):
    """Settings of the sign-in ``antigravity``.

    ``client_version`` is told when an account is set up.  ``second_host`` is asked once where the first has no
    capacity (nothing: it is not).  ``setup_base`` is where the project of an account is asked for.
    """

    scopes: tuple[str, ...] = (
        *CodeAssistOptions().scopes,
        "https://www.googleapis.com/auth/cclog",
        "https://www.googleapis.com/auth/experimentsandconfigs",
    )
    redirect_port: int = 51121
    onboard_seconds: float = 10.0
    client_version: str = "2.9.0"
    second_host: str = OTHERS
    setup_base: str = f"https://{OTHERS}"


class AntigravityAuth(AnyCodeAssist[AntigravityOptions]):
    """The sign-in ``antigravity``."""

    redirect_path: ClassVar[str] = "/oauth-callback"
    redirect_host: ClassVar[str] = "localhost"
    environment: ClassVar[str] = "CCR_ANTIGRAVITY_CLIENT"
    default_client: ClassVar[str] = "1071006060591-tmhssin2h21lcre235vtolojh4g403ep.apps.googleusercontent.com"
    service: ClassVar[str] = "https://daily-cloudcode-pa.googleapis.com"
    needs_project: ClassVar[bool] = True

    def where(self) -> str:
        """See :class:`ccr_plugin_oauth_gemini.GoogleAuth`."""
        return "The vendor does not publish the secret; it is part of the application that you have installed."

    def owned(self, token: Token, *, quiet: bool) -> Flow[JSON]:
        """The project and the tier of the account."""
        load = f"{self.options.setup_base}/{self.options.api_version}:loadCodeAssist"
        reply: WireReply = yield self.call(load, {"metadata": {"ideType": "ANTIGRAVITY"}}, token)
        if reply.status == 400:
            # Some versions of the service know the numbers only.
            reply = yield self.call(load, {"metadata": {"ideType": 9, "platform": 2, "pluginType": 2}}, token)
        state = answered(reply)
        project = self.options.project_id or _project(state)
        if project is None:
            project = yield from self._set_up(token, state)
        if project is None:
            raise AuthError("this account is not eligible for Antigravity: the service gives it no project")
        tier = (state.get("paidTier") or {}).get("id") or (state.get("currentTier") or {}).get("id")
        kept = {name: value for name, value in token.data.items() if name != "tier"}
        now = yield Now()
        return {
            **kept,
            "project_id": project,
            "project_checked_at": int(now),
            **({"tier": str(tier)} if tier else {}),
        }

    def _set_up(self, token: Token, state: JSON) -> Flow[str | None]:
        tiers = [tier for tier in state.get("allowedTiers") or () if isinstance(tier, dict)]
        tier = next((tier.get("id") for tier in tiers if tier.get("isDefault")), None)
        body: JSON = {
            "tier_id": str(tier or (state.get("currentTier") or {}).get("id") or "free-tier"),
            "metadata": {
                "ide_type": "ANTIGRAVITY",
                "ide_version": self.options.client_version,
                "ide_name": "antigravity",
            },
        }
        for again in range(max(1, int(self.options.onboard_seconds // 2))):
            if again:
                yield Sleep(2)
            work = answered((yield self.call(f"{self.base()}:onboardUser", body, token)))
            if work.get("done"):
                return _project(work.get("response") or {})
        return None

    def amend(self, wire: WireRequest, reply: WireReply) -> WireRequest | None:
        """The second host where the first cannot be reached, has no capacity, or has used up its quota."""
        parts = urlsplit(wire.url)
        own = urlsplit(self.options.api_base or self.service).hostname
        other = self.options.second_host
        full = reply.status == 503 and b"capacity" in reply.body.lower()
        if (full or reply.status in (0, 429)) and other and parts.hostname == own and own != other:
            return attrs.evolve(wire, url=urlunsplit(parts._replace(netloc=other)))
        return None

    def models(self, token: Token) -> Flow[list[OfferedModel]]:
        """The models that the account may use."""
        body = {"project": token.data.get("project_id")}
        found = answered((yield self.call(f"{self.base()}:fetchAvailableModels", body, token))).get("models")
        return [
            OfferedModel(
                id=name,
                name=str(each.get("displayName") or ""),
                context=_size(each.get("maxTokens")),
                max_output=_size(each.get("maxOutputTokens")),
            )
            for name, each in sorted(found.items() if isinstance(found, dict) else ())
            if isinstance(each, dict) and not name.startswith(HIDDEN)
        ]

    def usage(self, token: Token) -> Flow[list[Window]]:
        """The limits of each group of models."""
        body = {"project": token.data.get("project_id")}
        answer = answered((yield self.call(f"{self.base()}:retrieveUserQuotaSummary", body, token)))
        windows = []
        for group in answer.get("groups") or ():
            for bucket in group.get("buckets") or ():
                left = bucket.get("remainingFraction")
                if isinstance(left, (int, float)):
                    name = f"{group.get('displayName') or ''} {bucket.get('window') or ''}".strip()
                    windows.append(Window(name=name, used=1 - left, resets=unix(bucket.get("resetTime"))))
        return windows


def _project(state: JSON) -> str | None:
    for name in ("cloudaicompanionProject", "projectId", "project"):
        found: Any = state.get(name)
        found = found.get("id") if isinstance(found, dict) else found
        if found:
            return str(found)
    return None


def _size(value: Any) -> int | None:
    return value if isinstance(value, int) else None
