"""Signing in: the ways to do so, logins step by step, the accounts, their limits and models.

A login is a conversation of the plugin's (:mod:`ccr_core.login`) that is held with a page: it shows an address or a
code, asks, and is told what the user typed or pasted.  No token is ever shown.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import attrs

from ccr_core import config_edit, probe
from ccr_core.api.config import SAVED
from ccr_core.api.desk import Desk, Draft
from ccr_core.api.openapi import maybe, named
from ccr_core.api.operation import Call, Operation, Refused
from ccr_core.api.providers import OFFERED, entry_named, offered
from ccr_core.auth import Token, Wish
from ccr_core.config import parse_path
from ccr_core.config_edit import Set
from ccr_core.errors import AuthError, CcrError
from ccr_core.login import Session
from ccr_core.messages import JSON
from ccr_core.signins import SignIns
from ccr_core.tokenstore import save_login

KEPT_SECONDS = 900.0
"""How long the end of a login can be asked for."""

STATES = ("working", "open", "code", "question", "done", "failed")


@attrs.define
class Login:
    """A login under way, or its end."""

    id: str
    provider: str
    session: Session
    begun: float
    account: str | None = None


@attrs.frozen(kw_only=True)
class Begin:
    """``consent``: the risk was read and agreed to; ``account``: which one is to be renewed; ``elsewhere``: the
    browser is on another machine than the router."""

    account: str | None = None
    consent: bool = False
    method: str | None = None
    elsewhere: bool = False


@attrs.frozen(kw_only=True)
class Reply:
    """What the user typed, or the address (or code) that was pasted."""

    answer: str


@attrs.frozen(kw_only=True)
class Leave:
    """Which account; none is needed where there is one only.  ``all``: every one."""

    account: str | None = None
    all: bool = False


@attrs.frozen(kw_only=True)
class Sync:
    """The version of the configuration that was read."""

    version: str


# --- what there is --------------------------------------------------------------------------------------------


def _place(desk: Desk) -> SignIns:
    """The sign-ins of the running configuration."""
    runtime = desk.runtime
    known = desk.kept.get("signins")
    if known is None or known[0] is not runtime:
        known = desk.kept["signins"] = (runtime, SignIns(runtime.config, runtime.registry))
    place: SignIns = known[1]
    return place


def _spec(desk: Desk, call: Call) -> Any:
    try:
        return _place(desk).spec(call.path["provider"])
    except CcrError as error:
        raise Refused(error.message, 404) from None


def providers(desk: Desk, call: Call) -> JSON:
    """Every way to sign in."""
    place = _place(desk)
    rows = []
    for name, spec in place.specs().items():
        try:
            methods, problem = list(place.auth(name).methods), None
            accounts = place.rows(name)
        except CcrError as error:
            methods, problem, accounts = [], error.message, []
        rows.append(
            {
                "name": name,
                "summary": spec.summary,
                "risk": spec.risk or None,
                "interactive": spec.interactive,
                "flows": methods,
                "models": list(spec.models),
                "base_url": spec.base_url,
                "plugin": place.registry.auth[name].plugin.name,
                "used_by": _used_by(desk, name),
                "accounts": accounts,
                "problem": problem,
            }
        )
    return {"providers": rows, "store": place.store.where()}


def _used_by(desk: Desk, name: str) -> list[str]:
    return [
        each.name
        for each in desk.runtime.providers.values()
        if each.accounts is not None and each.accounts.spec.name == name
    ]


# --- logins ---------------------------------------------------------------------------------------------------


def _logins(desk: Desk) -> dict[str, Login]:
    logins: dict[str, Login] = desk.kept.setdefault("logins", {})
    now = time.monotonic()
    for id, login in list(logins.items()):
        if now - login.begun > KEPT_SECONDS and login.session.status()["state"] in ("done", "failed"):
            del logins[id]
    return logins


async def begin(desk: Desk, call: Call) -> JSON:
    """Begin a login; one that is under way for the same provider ends."""
    wanted: Begin = call.given
    spec = _spec(desk, call)
    place = await asyncio.to_thread(_place, desk)
    scheme = place.auth(spec.name)
    if not spec.interactive and not scheme.methods:
        raise Refused(f"{spec.name} needs no sign-in")
    if wanted.method is not None and wanted.method not in scheme.methods:
        raise Refused(f"{spec.name} has no method {wanted.method!r}; it has {', '.join(scheme.methods)}")
    if spec.risk and not wanted.consent:
        raise Refused("read what the vendor says of this use, and send consent", risk=spec.risk, consent=True)
    known = [each.id for each in await asyncio.to_thread(place.stored, spec.name)]
    if wanted.account is not None and wanted.account not in known:
        raise Refused(f"{spec.name} has no account {wanted.account!r}; leave it out to add one", 404)
    logins = _logins(desk)
    for id, old in list(logins.items()):
        if old.provider == spec.name:
            await old.session.cancel()
            del logins[id]
    method = wanted.method
    if method is None and wanted.elsewhere and "device" in scheme.methods:
        method = "device"
    wish = Wish(
        method=method or (scheme.methods[0] if scheme.methods else ""),
        headless=wanted.elsewhere,
        another=bool(known) and wanted.account is None,
    )

    async def keep(token: Token) -> str:
        made = await asyncio.to_thread(save_login, place.store, spec.name, token, time.time(), consent=bool(spec.risk))
        _look(desk, spec.name)
        return made

    session = Session(spec.name, scheme.login(wish), place.http(), keep)
    session.headless = wanted.elsewhere
    login = Login(secrets.token_urlsafe(12), spec.name, session, time.monotonic(), wanted.account)
    logins[login.id] = login
    await session.started(20.0)
    return _told(login)


def _told(login: Login) -> JSON:
    """A login as a page shows it."""
    status = login.session.status()
    state, method = status["state"], status.get("method")
    shown = {"browser": "open", "device": "code"}.get(str(method), "working") if state == "waiting" else state
    shown = {"starting": "working", "asking": "question"}.get(shown, shown)
    asking = shown == "question"
    account = status.get("account")
    message = status.get("error") or (status["notes"][-1] if status["notes"] else None)
    if shown == "done" and login.account is not None and account != login.account:
        message = f"this is another account than {login.account}, which is as it was"
    return {
        "id": login.id,
        "provider": login.provider,
        "state": shown,
        "url": status.get("auth_url"),
        "code": status.get("user_code"),
        "question": status.get("question") if asking else None,
        "secret": bool(asking and status.get("secret")),
        "paste": shown == "open",
        "message": message,
        "notes": list(status["notes"]),
        "expires": status.get("expires_at"),
        "account": account,
    }


def _found(desk: Desk, call: Call) -> Login:
    """The login that is asked about."""
    login = _logins(desk).get(call.path["id"])
    if login is None:
        raise Refused("there is no such login any more; begin another", 404)
    return login


async def look(desk: Desk, call: Call) -> JSON:
    """How a login stands."""
    return _told(_found(desk, call))


async def answer(desk: Desk, call: Call) -> JSON:
    """Pass on what the user typed or pasted."""
    wanted: Reply = call.given
    login = _found(desk, call)
    if _told(login)["state"] not in ("open", "question"):
        raise Refused("this login does not wait for an answer", 409)
    try:
        login.session.finish(wanted.answer)
    except AuthError as error:
        raise Refused(error.message, 409) from None
    await asyncio.sleep(0.05)  # what follows at once is told at once
    return _told(login)


async def cancel(desk: Desk, call: Call) -> JSON:
    """End a login."""
    login = _found(desk, call)
    await login.session.cancel()
    return _told(login)


# --- accounts -------------------------------------------------------------------------------------------------


def logout(desk: Desk, call: Call) -> JSON:
    """Forget an account, and tell the vendor where it takes that."""
    wanted: Leave = call.given
    place = _place(desk)
    provider = call.path["provider"]
    found = [each for each in place.stored(provider) if wanted.account in (None, each.id)]
    if not found:
        raise Refused(f"nobody is signed in to {provider}", 404)
    if len(found) > 1 and not wanted.all:
        raise Refused(f"{provider} has several accounts: {', '.join(each.id for each in found)}; name one, or all")
    notes = [note for each in found if (note := place.sign_out(each))]
    _look(desk, provider)
    return {"accounts": [each.id for each in found], "notes": notes}


def _usage(scheme: Any, token: Any) -> Any:
    return scheme.usage(token)


async def status(desk: Desk, call: Call) -> JSON:
    """The accounts of a provider; their limits as the vendor says now, if that is asked for."""
    place = await asyncio.to_thread(_place, desk)
    provider = call.path["provider"]
    rows = await asyncio.to_thread(place.rows, provider)
    if not rows:
        _spec(desk, call)
    if call.query.get("usage", "").lower() in ("true", "1", "yes"):
        for row in rows:
            if row["type"] == "oauth" and provider in place.specs():
                accounts = _in_use(desk, provider)
                try:
                    found = await place.ask(
                        provider, row["account"], lambda scheme, token: scheme.usage(token), accounts
                    )
                    row["windows"] = [attrs.asdict(window) for window in found] or row["windows"]
                except CcrError as error:
                    row["reason"] = row["reason"] or error.message
    return {"provider": provider, "accounts": rows}


def _look(desk: Desk, provider: str) -> None:
    """Let those who use the accounts see at once that they have changed."""
    for each in desk.runtime.providers.values():
        if each.accounts is not None and each.accounts.spec.name == provider:
            each.accounts.look()


def _in_use(desk: Desk, provider: str) -> Any:
    """The accounts that requests are signed with, so that no token is renewed twice."""
    return next(
        (
            each.accounts
            for each in desk.runtime.providers.values()
            if each.accounts is not None and each.accounts.spec.name == provider
        ),
        None,
    )


async def models(desk: Desk, call: Call) -> JSON:
    """The models that an account may use, as the vendor gives them now."""
    spec = _spec(desk, call)
    place = await asyncio.to_thread(_place, desk)
    account = call.query.get("account") or None
    found = await place.ask(spec.name, account, lambda scheme, token: scheme.models(token), _in_use(desk, spec.name))
    listed = {model for name in _used_by(desk, spec.name) for model in desk.runtime.models[name]}
    return {
        "provider": spec.name,
        "models": [
            {
                "id": each.id,
                "title": each.name or each.id,
                "window": each.context,
                "output": each.max_output,
                "levels": list(each.levels) or None,
                "note": each.note,
                "known": each.id in listed,
            }
            for each in found
        ],
    }


async def sync(desk: Desk, call: Call) -> JSON:
    """Add the models that the service has and the configuration has not."""
    wanted: Sync = call.given
    provider = desk.provider(call.path["name"])
    found = await probe.offered(desk.runtime, provider)
    added = [each.id for each in found if each.id not in provider.models]

    def change(draft: Draft) -> str:
        if not added:
            return draft.text
        config = desk.made(draft.text, draft.path).config
        place = parse_path(entry_named(config, provider.name).where)
        return config_edit.changed(
            draft.text, [Set((*place, "models"), _written(config, place, provider, added))], draft.path
        )

    saved = await desk.save(wanted.version, change)
    return {
        **saved,
        "provider": provider.name,
        "added": added,
        "total": len(provider.models) + len(added),
        "models": [offered(provider, each) for each in found],
    }


def _written(config: Any, place: Any, provider: Any, added: list[str]) -> list[Any]:
    """The list of models as it is written, with more behind it."""
    key, index = place
    present = config.raw[key][index].get("models")
    return [*(present if present else provider.models), *added]


ACCOUNT = {
    "provider": str,
    "account": str,
    "type": str,
    "label": str,
    "state": str,
    "default": bool,
    "expires": maybe(float),
    "cooling_until": maybe(float),
    "cooling_models": {str: float},
    "windows": [{"name": str, "used": float, "resets": maybe(float)}],
    "reason": str,
    "todo": str,
}
LOGIN = named(
    "login",
    {
        "id": str,
        "provider": str,
        "state": STATES,
        "url": maybe(str),
        "code": maybe(str),
        "question": maybe(str),
        "secret": bool,
        "paste": bool,
        "message": maybe(str),
        "notes": [str],
        "expires": maybe(float),
        "account": maybe(str),
    },
)

OPERATIONS = (
    Operation(
        method="GET",
        path="/api/auth/providers",
        summary="The ways to sign in, and their accounts.",
        answer=providers,
        gives={
            "providers": [
                {
                    "name": str,
                    "summary": str,
                    "risk": maybe(str),
                    "interactive": bool,
                    "flows": [str],
                    "models": [str],
                    "base_url": str,
                    "plugin": str,
                    "used_by": [str],
                    "accounts": [named("account", ACCOUNT)],
                    "problem": maybe(str),
                }
            ],
            "store": str,
        },
    ),
    Operation(
        method="POST",
        path="/api/auth/login/{provider}",
        summary="Begin a login; another one for the same provider ends.",
        answer=begin,
        takes=Begin,
        gives=LOGIN,
    ),
    Operation(
        method="GET",
        path="/api/auth/logins/{id}",
        summary="How a login stands.",
        answer=look,
        gives=LOGIN,
    ),
    Operation(
        method="POST",
        path="/api/auth/logins/{id}",
        summary="Answer the question of a login, or give the address that was pasted.",
        answer=answer,
        takes=Reply,
        gives=LOGIN,
    ),
    Operation(
        method="DELETE",
        path="/api/auth/logins/{id}",
        summary="End a login.",
        answer=cancel,
        gives=LOGIN,
    ),
    Operation(
        method="POST",
        path="/api/auth/logout/{provider}",
        summary="Forget an account, and tell the vendor.",
        answer=logout,
        takes=Leave,
        gives={"accounts": [str], "notes": [str]},
    ),
    Operation(
        method="GET",
        path="/api/auth/status/{provider}",
        summary="The accounts of a provider, with their limits.",
        answer=status,
        query={"usage": "`true`: ask the vendor for the limits"},
        gives={"provider": str, "accounts": [named("account", ACCOUNT)]},
    ),
    Operation(
        method="GET",
        path="/api/auth/models/{provider}",
        summary="The models that an account may use.",
        answer=models,
        query={"account": "which one; the first that can be used if absent"},
        gives={
            "provider": str,
            "models": [
                {
                    "id": str,
                    "title": str,
                    "window": maybe(int),
                    "output": maybe(int),
                    "levels": maybe([str]),
                    "note": str,
                    "known": bool,
                }
            ],
        },
    ),
    Operation(
        method="POST",
        path="/api/oauth/sync-models/{name}",
        summary="Add the models that a provider's service has and the configuration has not.",
        answer=sync,
        takes=Sync,
        gives={**SAVED, "provider": str, "added": [str], "total": int, "models": [OFFERED]},
    ),
)
