"""Google Cloud credentials, as Google's own programs find them ("application default credentials").

Nobody signs in: a key file of a service account, the login of the ``gcloud`` program, or the machine's own account on
Google Cloud.  Source of the protocol: Google's pages "Application Default Credentials" and "Using OAuth 2.0 for server
to server applications", RFC 7523.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import attrs
import orjson

from ccr_core import (
    JSON,
    AccountError,
    Auth,
    AuthError,
    AuthOptions,
    Call,
    Flow,
    Now,
    Token,
    UpstreamError,
    WireReply,
    WireRequest,
    answer_of,
    error_text,
    get_call,
    post_call,
    token_of,
)

WHAT = "Google's login service"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URI = "https://oauth2.googleapis.com/token"
HOST = "aiplatform.googleapis.com"

PLACE = "/v1/projects/{project}/locations/{location}"
"""The beginning of all paths; what is in braces is filled in when a request is signed."""

_HOST = re.compile(r"([a-z0-9-]+)-aiplatform\.googleapis\.com|aiplatform\.([a-z]+)\.rep\.googleapis\.com")

PRODUCT = Path("/sys/class/dmi/id/product_name")
"""Where Linux says which machine it runs on."""

GEMINI_LOCATION, CLAUDE_LOCATION = "us-central1", "us-east5"
"""Where models are asked if nothing says so: as older configurations expect it."""


@attrs.frozen(kw_only=True)
class VertexOptions(AuthOptions):
    """Settings of the sign-in ``vertex``.

    ``project`` and ``location`` of the models (else the environment, else the credentials' project).  ``credentials``
    is a file, as ``GOOGLE_APPLICATION_CREDENTIALS`` names one; ``client_email`` with ``private_key`` are a service
    account without a file.  ``token_uri`` replaces the address at which tokens are asked for, ``metadata_url`` that of
    the machine's own account.
    """

    project: str | None = None
    location: str | None = None
    credentials: Path | None = None
    client_email: str | None = None
    private_key: str | None = attrs.field(default=None, repr=False)
    scope: str = SCOPE
    token_uri: str | None = None
    metadata_url: str = "http://metadata.google.internal"


@attrs.frozen(kw_only=True)
class OpenOptions:
    """``client_email`` and ``private_key``: a service account, instead of the credentials of the machine."""

    client_email: str | None = None
    private_key: str | None = attrs.field(default=None, repr=False)


def own_account(options: OpenOptions) -> dict[str, Any]:
    """Options of the sign-in for an entry that names a service account of its own."""
    given = attrs.asdict(options)
    return {name: value for name, value in given.items() if value is not None}


def located(url: str) -> dict[str, Any]:
    """The location that the host of an address without a path names, as an option of the sign-in."""
    parts = urlsplit(url)
    found = None if parts.path.strip("/") else _HOST.fullmatch(parts.hostname or "")
    return {"location": found[1] or found[2]} if found else {}


class Vertex(Auth[VertexOptions]):
    """The sign-in ``vertex``."""

    methods: ClassVar[tuple[str, ...]] = ()
    by_itself: ClassVar[bool] = True

    def endpoint(self, model: str, token: Token | None) -> str | None:
        """Claude models, those of other publishers (``publisher/name``), and Gemini."""
        if model.startswith("claude-"):
            return "claude"
        return "open" if "/" in model else "gemini"

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """The token in the header; project, location and the location's host in the address."""
        if token is None:
            raise AuthError(f"there are no Google Cloud credentials for {self.provider}; {FIND}")
        headers = {**wire.headers, "authorization": f"Bearer {token.access}"}
        if token.data.get("quota_project"):
            headers["x-goog-user-project"] = str(token.data["quota_project"])
        return attrs.evolve(wire, url=self.placed(wire.url, token.data), headers=headers)

    def placed(self, url: str, data: Mapping[str, Any]) -> str:
        """``url`` with what is in braces filled in; ``data`` is that of the token."""
        location = self.options.location or _env("GOOGLE_VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION")
        location = location or (CLAUDE_LOCATION if "/publishers/anthropic/" in url else GEMINI_LOCATION)
        if "{project}" in url:
            project = self.options.project or _env("GOOGLE_VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT")
            project = project or data.get("project")
            if not project:
                raise AuthError("no Google Cloud project is known; set GOOGLE_CLOUD_PROJECT, or oauth.vertex.project")
            url = url.replace("{project}", str(project))
        if "{location}" in url:
            if url.startswith(f"https://{HOST}/"):
                url = url.replace(HOST, host_of(location), 1)
            url = url.replace("{location}", location)
        return url

    # Where credentials come from.

    def refresh(self, token: Token) -> Flow[Token]:
        """A token of the credentials that are on this machine; raise ``AuthError`` saying how to get some.

        They are looked for each time: they may have changed.
        """
        options = self.options
        found: JSON
        if options.client_email and options.private_key:
            found = {
                "type": "service_account",
                "client_email": options.client_email,
                "private_key": options.private_key,
            }
        else:
            path = _file(options.credentials)
            if path is None:
                if not _on_google_cloud():
                    raise AuthError(f"there are no Google Cloud credentials; {FIND}")
                return (yield from self._of_machine())
            found = _read(path)
        return (yield from self._of(found))

    def _of(self, found: JSON) -> Flow[Token]:
        """A token of credentials of any kind."""
        from . import federated

        kind = found.get("type")
        if kind == "service_account":
            return (yield from self._of_service_account(found))
        if kind == "authorized_user":
            return (yield from self._of_user(found))
        token: Token
        if kind == "external_account":
            token = yield from self._token((yield from federated.exchange(found, self.options.scope)))
        elif kind == "impersonated_service_account" and isinstance(found.get("source_credentials"), dict):
            token = yield from self._of(found["source_credentials"])
        else:
            raise AuthError(f"credentials of the type {kind!r} are not supported; {FIND}")
        if found.get("service_account_impersonation_url"):
            url = str(found["service_account_impersonation_url"])
            token = yield from federated.impersonate(url, found, token, self.options.scope)
        quota = _env("GOOGLE_CLOUD_QUOTA_PROJECT") or found.get("quota_project_id")
        return attrs.evolve(token, data={"project": quota or token.data.get("project"), "quota_project": quota})

    def _of_service_account(self, found: JSON) -> Flow[Token]:
        uri = self.options.token_uri or str(found.get("token_uri") or TOKEN_URI)
        now = yield Now()
        claims = {
            "iss": found.get("client_email"),
            "scope": self.options.scope,
            "aud": uri,
            # A little earlier than now: the clocks may differ, and the future is refused.
            "iat": int(now) - 10,
            "exp": int(now) + 3590,
        }
        assertion = signed_jwt(claims, str(found.get("private_key") or ""), found.get("private_key_id"))
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        token: Token = yield from self._token(post_call(uri, form=form))
        return attrs.evolve(token, data={"project": found.get("project_id")})

    def _of_user(self, found: JSON) -> Flow[Token]:
        uri = self.options.token_uri or str(found.get("token_uri") or TOKEN_URI)
        form = {
            "grant_type": "refresh_token",
            "client_id": str(found.get("client_id") or ""),
            "client_secret": str(found.get("client_secret") or ""),
            "refresh_token": str(found.get("refresh_token") or ""),
        }
        try:
            token: Token = yield from self._token(post_call(uri, form=form))
        except AccountError as error:
            raise AuthError(f"{error.message}. Run: gcloud auth application-default login") from None
        quota = _env("GOOGLE_CLOUD_QUOTA_PROJECT") or found.get("quota_project_id")
        return attrs.evolve(token, data={"project": quota or found.get("project_id"), "quota_project": quota})

    def _of_machine(self) -> Flow[Token]:
        host = _env("GCE_METADATA_HOST")
        base = f"{f'http://{host}' if host else self.options.metadata_url}/computeMetadata/v1"
        header = {"metadata-flavor": "Google"}
        token: Token = yield from self._token(get_call(f"{base}/instance/service-accounts/default/token", header))
        reply: WireReply = yield get_call(f"{base}/project/project-id", header)
        if reply.status != 200:
            raise UpstreamError(f"the machine's account does not tell its project: {error_text(reply)}")
        return attrs.evolve(token, data={"project": reply.body.decode("utf-8", "replace").strip()})

    def _token(self, call: Call) -> Flow[Token]:
        body = answer_of((yield call), WHAT)
        token = token_of(body, (yield Now()), what=WHAT)
        return attrs.evolve(token, refresh=None)


FIND = (
    "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, or run: "
    "gcloud auth application-default login"
)
"""How to get credentials."""


def host_of(location: str) -> str:
    """The host that serves a location."""
    if location == "global":
        return HOST
    return f"aiplatform.{location}.rep.googleapis.com" if location in ("us", "eu") else f"{location}-{HOST}"


def _env(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


def _file(given: Path | None) -> Path | None:
    """The file with credentials; raise ``AuthError`` if one is named and not there."""
    named = given or _env("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise AuthError(f"the file of Google Cloud credentials {path} does not exist")
        return path
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA", "")) / "gcloud"
    else:
        folder = Path(os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config/gcloud")
    usual = folder / "application_default_credentials.json"
    return usual if usual.is_file() else None


def _read(path: Path) -> JSON:
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise AuthError(f"the file of Google Cloud credentials {path} cannot be read: {type(error).__name__}") from None
    if not isinstance(found, dict):
        raise AuthError(f"the file of Google Cloud credentials {path} holds no JSON object")
    return found


def _on_google_cloud() -> bool:
    """Whether something hints at a machine of Google Cloud: elsewhere its address does not even resolve."""
    if _env("GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB", "GAE_SERVICE"):
        return True
    try:
        return PRODUCT.read_text("utf-8", "replace").startswith("Google")
    except OSError:
        return False


def signed_jwt(claims: JSON, private_key: str, key_id: Any = None) -> str:
    """A JSON web token signed with RS256; raise ``AuthError`` without the package for it, or for a broken key."""
    try:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise AuthError(
            'service accounts need the package cryptography; run: pip install "ccr-plugin-vertex[vertex]"'
        ) from None
    try:
        key = load_pem_private_key(private_key.replace("\\n", "\n").encode(), None)
    except (ValueError, TypeError):
        raise AuthError("the private_key of the service account is no PEM key; copy it whole") from None
    if not isinstance(key, RSAPrivateKey):
        raise AuthError("the private_key of the service account is no RSA key")
    header = {"alg": "RS256", "typ": "JWT", **({"kid": str(key_id)} if key_id else {})}
    text = b".".join(_base64(orjson.dumps(part)) for part in (header, claims))
    return b".".join((text, _base64(key.sign(text, PKCS1v15(), SHA256())))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
