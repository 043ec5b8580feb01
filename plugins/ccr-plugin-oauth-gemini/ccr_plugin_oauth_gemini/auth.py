"""The sign-in ``gemini``: a Google account, and the project under which Code Assist serves it.

Source of the protocol: the vendor's own command-line program (Apache-2.0), autumn 2026.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar, TypeVar

import attrs

from ccr_core import (
    JSON,
    AccountError,
    Ask,
    AuthError,
    CcrError,
    Flow,
    Now,
    OfferedModel,
    OpenUrl,
    Say,
    Sleep,
    Token,
    UpstreamError,
    Window,
    WireReply,
    WireRequest,
    answer_of,
    error_text,
    get_call,
)

from .google import GoogleAuth, GoogleOptions, bearer

WHAT = "Gemini Code Assist"

DAY = 86_400.0

INSTEAD = "Use a Gemini API key (provider gemini with an api_key) or Vertex AI instead."


@attrs.frozen(kw_only=True)
class CodeAssistOptions(GoogleOptions):
    """Settings of the sign-in ``gemini``.

    ``project_id`` is the Google Cloud project of your licence (else ``GOOGLE_CLOUD_PROJECT``).  ``api_version`` is
    part of the addresses of the service.  ``onboard_seconds`` is how long a new account is waited for.
    """

    project_id: str | None = None
    api_version: str = "v1internal"
    onboard_seconds: float = 120.0


O = TypeVar("O", bound=CodeAssistOptions)  # noqa: E741 - the options of a sign-in


class AnyCodeAssist(GoogleAuth[O]):
    """What the sign-ins that stand on Code Assist have in common."""

    service: ClassVar[str] = "https://cloudcode-pa.googleapis.com"
    ide: ClassVar[str] = "IDE_UNSPECIFIED"
    needs_project: ClassVar[bool] = False

    def base(self) -> str:
        """Where the methods of the service are: ``{base}:{method}``."""
        return f"{(self.options.api_base or self.service).rstrip('/')}/{self.options.api_version}"

    def metadata(self, project: str | None) -> JSON:
        """What the service is told of the client."""
        given: JSON = {"ideType": self.ide, "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"}
        return {**given, "duetProject": project} if project else given

    def configured(self) -> str | None:
        """The project that the configuration or the environment names."""
        project = self.options.project_id
        for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT_ID"):
            project = project or os.environ.get(name)
        if project and project.isdigit():
            raise AuthError(f"the project {project!r} is a number; give the id of the project, which has letters")
        return project or None

    def stale(self, token: Token, now: float) -> bool:
        """See :class:`GoogleAuth`; once a day, and for accounts of which nothing is known."""
        checked = token.data.get("project_checked_at")
        return not isinstance(checked, (int, float)) or now - checked > DAY

    def owned(self, token: Token, *, quiet: bool) -> Flow[JSON]:
        """The project and the tier of the account; sets a new account up."""
        wanted = self.configured()
        while True:
            state: JSON = yield from self._load(token, wanted)
            block = _validation(state)
            if block is None:
                break
            words, url = block
            if quiet:
                raise AccountError(f"{words} ({url})", "validation_required")
            yield Say(words)
            yield OpenUrl(url)
            yield Ask("Press Enter when that is done.")
        tier = state.get("currentTier")
        if isinstance(tier, dict):
            shown = (state.get("paidTier") or {}).get("id") or tier.get("id") or "standard-tier"
            project = _id(state.get("cloudaicompanionProject")) or wanted
            if project is None:
                raise AuthError(_no_project(state, self.provider))
        else:
            shown, project = yield from self._onboard(token, state, wanted)
        kept = {name: value for name, value in token.data.items() if name not in ("project_id", "tier")}
        now = yield Now()
        return {**kept, **({"project_id": project} if project else {}), "tier": shown, "project_checked_at": int(now)}

    def _load(self, token: Token, project: str | None) -> Flow[JSON]:
        body: JSON = {"metadata": self.metadata(project)}
        if project:
            body["cloudaicompanionProject"] = project
        reply: WireReply = yield self.call(f"{self.base()}:loadCodeAssist", body, token)
        if reply.status >= 400 and b"SECURITY_POLICY_VIOLATED" in reply.body:
            # The project is behind VPC Service Controls: only licences have those.
            return {"currentTier": {"id": "standard-tier"}}
        return answered(reply)

    def _onboard(self, token: Token, state: JSON, project: str | None) -> Flow[tuple[str, str | None]]:
        """Set the account up; its tier and project."""
        allowed = [tier for tier in state.get("allowedTiers") or () if isinstance(tier, dict)]
        chosen = next((tier for tier in allowed if tier.get("isDefault")), None)
        if chosen is None and _reasons(state):
            raise AuthError(f"{WHAT} refuses this account: {' '.join(_reasons(state))} {INSTEAD}")
        tier = str((chosen or {}).get("id") or "legacy-tier")
        if tier == "free-tier":
            project = None  # with one the service refuses
        elif project is None and (chosen or {}).get("userDefinedCloudaicompanionProject"):
            raise AuthError(_no_project(state, self.provider))
        body: JSON = {"tierId": tier, "metadata": self.metadata(project)}
        if project:
            body["cloudaicompanionProject"] = project
        reply: WireReply = yield self.call(f"{self.base()}:onboardUser", body, token)
        work = answered(reply)
        end = (yield Now()) + self.options.onboard_seconds
        while not work.get("done"):
            if (yield Now()) >= end:
                raise UpstreamError(f"{WHAT} has not set the account up in time; sign in again later", 504)
            yield Sleep(5)
            headers = {**bearer(token), "user-agent": self.options.user_agent}
            work = answered((yield get_call(f"{self.base()}/{work.get('name')}", headers)))
        if work.get("error"):
            raise AuthError(f"{WHAT} did not set the account up: {(work['error'] or {}).get('message')}")
        return tier, _id((work.get("response") or {}).get("cloudaicompanionProject")) or project

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """The token in the header, and the account's project in the envelope."""
        if token is None:
            raise AuthError(f"nobody is signed in to {self.provider}. Run: ccr auth login {self.provider}")
        project = token.data.get("project_id")
        if not project and self.needs_project:
            raise AuthError(f"no project is known for this account. Run: ccr auth login {self.provider}")
        body = wire.body
        if body is not None and project:
            body = {**body, "project": project}
        headers = {**wire.headers, **bearer(token), "user-agent": self.options.user_agent}
        return attrs.evolve(wire, headers=headers, body=body)

    def outdated(self, reply: WireReply, token: Token) -> bool:
        """Whether the project that was found may not be the account's any more."""
        from .refusals import of_project

        project = token.data.get("project_id")
        return bool(project) and of_project(reply, str(project))

    def refused(self, reply: WireReply, error: UpstreamError) -> CcrError:
        """See :mod:`.refusals`."""
        from .refusals import refused

        return refused(reply, error)


class CodeAssistAuth(AnyCodeAssist[CodeAssistOptions]):
    """The sign-in ``gemini``."""

    environment = "CCR_GEMINI_CLIENT"
    default_client = "681255809395-oo8ft2oprdrnp9e3aqf6av3hmdib135j.apps.googleusercontent.com"
    paste = "https://codeassist.google.com/authcode"

    def found(self) -> Iterator[tuple[str, str]]:
        """The pair of the vendor's own program, if that is installed."""
        from .vendor import pairs

        return pairs()

    def where(self) -> str:
        """See :class:`GoogleAuth`."""
        return (
            "Both stand in the source of Google's own program (google-gemini/gemini-cli, file "
            "packages/core/src/code_assist/oauth2.ts), and are found by themselves where that program is installed."
        )

    def models(self, token: Token) -> Flow[list[OfferedModel]]:
        """The models for which the account has a quota."""
        buckets = yield from self._quota(token)
        return [OfferedModel(id=name) for name in sorted(buckets)]

    def usage(self, token: Token) -> Flow[list[Window]]:
        """The quota of each model; of several, the one of which most is left."""
        buckets: dict[str, JSON] = yield from self._quota(token)
        return [
            Window(name=name, used=1 - float(bucket["remainingFraction"]), resets=unix(bucket.get("resetTime")))
            for name, bucket in sorted(buckets.items())
            if isinstance(bucket.get("remainingFraction"), (int, float))
        ]

    def _quota(self, token: Token) -> Flow[dict[str, JSON]]:
        project = token.data.get("project_id")
        body = {"project": project} if project else {}
        answer = answered((yield self.call(f"{self.base()}:retrieveUserQuota", body, token)))
        best: dict[str, JSON] = {}
        for bucket in answer.get("buckets") or ():
            name = str(bucket.get("modelId") or "") if isinstance(bucket, dict) else ""
            if name and _left(bucket) >= _left(best.get(name, {})):
                best[name] = bucket
        return best


def _left(bucket: JSON) -> float:
    left = bucket.get("remainingFraction")
    return float(left) if isinstance(left, (int, float)) else -1.0


def unix(text: Any) -> float | None:
    """A time as Google writes it (``2026-11-22T12:00:00Z``) in Unix seconds."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None


def answered(reply: WireReply) -> JSON:
    """The answer of a method of the service; an error that says what to do where it will not serve the account."""
    if reply.status >= 400:
        from .refusals import refused

        found = refused(reply, UpstreamError(error_text(reply), reply.status, headers=reply.headers))
        if isinstance(found, AccountError) or reply.status == 403:
            raise found
    return answer_of(reply, WHAT)


def _id(project: Any) -> str | None:
    """The id of a project, given as text or as an object."""
    found = project.get("id") if isinstance(project, dict) else project
    return str(found) if found else None


def _ineligible(state: JSON) -> list[JSON]:
    return [tier for tier in state.get("ineligibleTiers") or () if isinstance(tier, dict)]


def _reasons(state: JSON) -> list[str]:
    return [str(tier["reasonMessage"]) for tier in _ineligible(state) if tier.get("reasonMessage")]


def _validation(state: JSON) -> tuple[str, str] | None:
    """What the user has to do before the service says more, and where."""
    if state.get("currentTier"):
        return None
    for tier in _ineligible(state):
        if tier.get("reasonCode") == "VALIDATION_REQUIRED" and tier.get("validationUrl"):
            return str(tier.get("reasonMessage") or "Google wants to verify the account."), str(tier["validationUrl"])
    return None


def _no_project(state: JSON, name: str) -> str:
    if reasons := _reasons(state):
        return f"{WHAT} refuses this account: {' '.join(reasons)} {INSTEAD}"
    return (
        f"this account needs a Google Cloud project with a Gemini Code Assist licence; set oauth.{name}.project_id "
        "or GOOGLE_CLOUD_PROJECT, and sign in again"
    )
