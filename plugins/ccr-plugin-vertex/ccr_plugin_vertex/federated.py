"""Credentials of somebody else: workload identity (``external_account``) and service accounts that are impersonated.

A machine outside of Google Cloud has a token of its own provider, in a file or at an address; Google's security token
service exchanges it.  Credentials that want a program to be run are refused: what runs on this machine is not for a
file of credentials to say.

Source of the protocol: Google's page "Workload identity federation", AIP-4117, RFC 8693.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import orjson

from ccr_core import JSON, AuthError, Call, Flow, Token, UpstreamError, WireReply, answer_of, get_call, post_call

IAM = "Google's IAM service"
LIFETIME = "3600s"


def exchange(found: JSON, scope: str) -> Flow[Call]:
    """The request that exchanges the machine's own token for one of Google's; raise ``AuthError`` if it has none."""
    subject: str = yield from _subject(found)
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": str(found.get("audience") or ""),
        "scope": scope,
        "subject_token_type": str(found.get("subject_token_type") or ""),
        "subject_token": subject,
    }
    if found.get("workforce_pool_user_project"):
        form["options"] = orjson.dumps({"userProject": found["workforce_pool_user_project"]}).decode()
    return post_call(str(found.get("token_url") or "https://sts.googleapis.com/v1/token"), form=form)


def impersonate(url: str, found: JSON, token: Token, scope: str) -> Flow[Token]:
    """A token of the service account that ``url`` names, for the owner of ``token``."""
    given = found.get("service_account_impersonation")
    seconds = given.get("token_lifetime_seconds") if isinstance(given, dict) else None
    body: JSON = {"scope": [scope], "lifetime": f"{seconds}s" if isinstance(seconds, int) else LIFETIME}
    if found.get("delegates"):
        body["delegates"] = found["delegates"]
    call = post_call(url, json=body, headers={"authorization": f"Bearer {token.access}"})
    answer = answer_of((yield call), IAM)
    try:
        expires = datetime.fromisoformat(str(answer["expireTime"])).timestamp()
        access = str(answer["accessToken"])
    except (KeyError, ValueError):
        raise UpstreamError(f"{IAM} answered without a token") from None
    return attrs.evolve(token, access=access, expires=expires)


def _subject(found: JSON) -> Flow[str]:
    """The machine's own token."""
    given = found.get("credential_source")
    source: JSON = given if isinstance(given, dict) else {}
    if source.get("file"):
        try:
            text = Path(str(source["file"])).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = type(error).__name__
            raise AuthError(f"the token file {source['file']} of the credentials cannot be read: {problem}") from None
    elif source.get("url") and not source.get("environment_id"):
        headers = {str(name).lower(): str(value) for name, value in (source.get("headers") or {}).items()}
        reply: WireReply = yield get_call(str(source["url"]), headers)
        if reply.status != 200:
            raise UpstreamError(f"the machine's own identity service answered with {reply.status}")
        text = reply.body.decode("utf-8", "replace")
    else:
        what = "run a program" if source.get("executable") else "are of this kind"
        raise AuthError(f"workload identity credentials that {what} are not supported; use those with a file or a url")
    token = _within(text, source.get("format")).strip()
    if not token:
        raise AuthError("the machine's own identity holds no token")
    return token


def _within(text: str, form: Any) -> str:
    if not isinstance(form, dict) or form.get("type") != "json":
        return text
    try:
        token = orjson.loads(text)[str(form.get("subject_token_field_name"))]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    return token if isinstance(token, str) else ""
