"""Google Cloud credentials: where they are found, what is asked for with them, and where requests go."""

from __future__ import annotations

import base64
import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from ccr_plugin_vertex import Vertex, VertexOptions
from ccr_plugin_vertex.auth import PLACE, host_of, located
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ccr_core import AccountError, AuthError, Call, Token, WireReply, WireRequest
from ccr_core.testing import replay

NOW = 1_700_000_000.0
NONE = Token(access="")
GRANTED = {"access_token": "ya29.one", "expires_in": 3599}
KEY = generate_private_key(65537, 2048)


def pem(key: RSAPrivateKey = KEY) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def vertex(**options: Any) -> Vertex:
    return Vertex(VertexOptions(**options), "vertex")


def service_account(**more: Any) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "file-project",
        "private_key_id": "kid-1",
        "private_key": pem(),
        "client_email": "me@file-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
        **more,
    }


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def only_call(asked: list[Any]) -> Call:
    (call,) = (each for each in asked if isinstance(each, Call))
    return call


def part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key file signs an assertion that Google can check, back-dated a little; the project comes with it."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(written(tmp_path / "key.json", service_account())))
    token, asked = replay(vertex().refresh(NONE), [GRANTED], now=NOW)
    call = only_call(asked)
    assert call.form is not None
    header, claims, signature = call.form["assertion"].split(".")

    assert "urn:ietf:params:oauth:grant-type:jwt-bearer" == call.form["grant_type"]
    assert {"alg": "RS256", "typ": "JWT", "kid": "kid-1"} == json.loads(part(header))
    assert {
        "iss": "me@file-project.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": NOW - 10,
        "exp": NOW + 3590,
    } == json.loads(part(claims))
    KEY.public_key().verify(part(signature), f"{header}.{claims}".encode(), PKCS1v15(), SHA256())
    assert ("ya29.one", NOW + 3599, {"project": "file-project"}) == (token.access, token.expires, token.data)


def test_a_service_account_in_the_configuration() -> None:
    """E-mail and key may stand in the configuration, the line breaks of the key written out."""
    options = {"client_email": "me@x", "private_key": pem().replace("\n", "\\n")}
    token, asked = replay(vertex(**options).refresh(NONE), [GRANTED], now=NOW)

    assert ("ya29.one", "https://oauth2.googleapis.com/token") == (token.access, only_call(asked).wire.url)


def test_a_user(alone: Path) -> None:
    """The login of the vendor's program is found where that keeps it; its quota project is paid with."""
    found = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "1//r",
        "quota_project_id": "payer",
    }
    written(alone / ".config/gcloud/application_default_credentials.json", found)
    token, asked = replay(vertex().refresh(NONE), [GRANTED], now=NOW)
    wire = vertex().apply(WireRequest(url=f"https://aiplatform.googleapis.com{PLACE}/x", headers={}), token)

    assert {
        "grant_type": "refresh_token",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "1//r",
    } == only_call(asked).form
    assert "payer" == wire.headers["x-goog-user-project"]
    assert "/projects/payer/" in wire.url


def test_a_revoked_user(alone: Path) -> None:
    """A login that was taken back names the command that helps."""
    found = {"type": "authorized_user", "refresh_token": "1//r"}
    written(alone / ".config/gcloud/application_default_credentials.json", found)
    with pytest.raises(AuthError, match="gcloud auth application-default login") as caught:
        replay(vertex().refresh(NONE), [(400, {"error": "invalid_grant"})])

    assert not isinstance(caught.value, AccountError)


def test_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Google Cloud the machine's own account is asked for, with the header without which nothing is told."""
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    token, asked = replay(vertex().refresh(NONE), [GRANTED, WireReply(status=200, body=b"cloud-project\n")], now=NOW)
    calls = [each for each in asked if isinstance(each, Call)]

    assert "cloud-project" == token.data["project"]
    assert [
        "http://127.0.0.1:9/computeMetadata/v1/instance/service-accounts/default/token",
        "http://127.0.0.1:9/computeMetadata/v1/project/project-id",
    ] == [call.wire.url for call in calls]
    assert ["Google", "Google"] == [call.wire.headers["metadata-flavor"] for call in calls]


def test_no_credentials() -> None:
    """Without credentials nothing is sent, and the message says how to get some."""
    with pytest.raises(AuthError, match="set GOOGLE_APPLICATION_CREDENTIALS"):
        replay(vertex().refresh(NONE))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"type": "gdch_service_account"}, "'gdch_service_account' are not supported"),
        ({"type": "impersonated_service_account"}, "'impersonated_service_account' are not supported"),
        ({"type": "external_account"}, "of this kind are not supported"),
        ({"type": "external_account", "credential_source": {"executable": {"command": "x"}}}, "run a program"),
        ({"type": "external_account", "credential_source": {"environment_id": "aws1", "url": "u"}}, "of this kind"),
        (
            {"type": "external_account", "credential_source": {"file": "/nowhere/x"}},
            "be read: FileNotFoundError",
        ),
        ([], "holds no JSON object"),
        (service_account(private_key="no key"), "is no PEM key"),
    ],
)
def test_broken_credentials(tmp_path: Path, content: Any, words: str) -> None:
    """Credentials that cannot be used are named, and not shown."""
    with pytest.raises(AuthError, match=words):
        replay(vertex(credentials=written(tmp_path / "key.json", content)).refresh(NONE))


# --- credentials of somebody else --------------------------------------------------------------------------------


def workload(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": source,
        **more,
    }


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("subject-1\n", {}),
        ("subject-1", {"format": {"type": "text"}}),
        ('{"t": "subject-1"}', {"format": {"type": "json", "subject_token_field_name": "t"}}),
    ],
)
@pytest.mark.parametrize("where", ["file", "url"])
def test_a_workload(tmp_path: Path, where: str, text: str, form: dict[str, Any]) -> None:
    """A machine elsewhere exchanges the token of its own provider, which is in a file or at an address."""
    (tmp_path / "subject").write_text(text)
    headers = {"headers": {"Metadata": "True"}} if where == "url" else {}
    source = {where: str(tmp_path / "subject") if where == "file" else "http://10.0.0.1/token", **headers, **form}
    file = written(tmp_path / "key.json", workload(source, quota_project_id="payer"))
    replies = [WireReply(status=200, body=text.encode())] if where == "url" else []
    token, asked = replay(vertex(credentials=file).refresh(NONE), [*replies, GRANTED], now=NOW)
    *first, call = [each for each in asked if isinstance(each, Call)]

    assert ["True"] * len(replies) == [each.wire.headers["metadata"] for each in first]
    assert {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": workload({})["audience"],
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": "subject-1",
    } == call.form
    assert ("ya29.one", {"project": "payer", "quota_project": "payer"}) == (token.access, token.data)


IMPERSONATE = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/sa@x:generateAccessToken"


@pytest.mark.parametrize("kind", ["external_account", "impersonated_service_account"])
def test_impersonation(tmp_path: Path, kind: str) -> None:
    """A service account may lend its name: its token is asked for with the first one."""
    (tmp_path / "subject").write_text("subject-1")
    found = workload({"file": str(tmp_path / "subject")}, service_account_impersonation_url=IMPERSONATE)
    if kind == "impersonated_service_account":
        source = {"type": "authorized_user", "refresh_token": "1//r"}
        found = {"type": kind, "source_credentials": source, "service_account_impersonation_url": IMPERSONATE}
    lent = {"accessToken": "ya29.lent", "expireTime": "2026-11-22T12:00:00Z"}
    token, asked = replay(vertex(credentials=written(tmp_path / "key.json", found)).refresh(NONE), [GRANTED, lent])
    last = [each for each in asked if isinstance(each, Call)][-1].wire

    assert (IMPERSONATE, "Bearer ya29.one") == (last.url, last.headers["authorization"])
    assert {"scope": ["https://www.googleapis.com/auth/cloud-platform"], "lifetime": "3600s"} == last.body
    assert ("ya29.lent", 1795348800.0) == (token.access, token.expires)


@pytest.mark.parametrize("text", ["", "no json", '{"other": 1}', '{"t": 1}'])
def test_no_subject(tmp_path: Path, text: str) -> None:
    """Without a token of its own nothing is sent to Google."""
    (tmp_path / "subject").write_text(text)
    form = {"type": "json", "subject_token_field_name": "t"}
    file = written(tmp_path / "key.json", workload({"file": str(tmp_path / "subject"), "format": form}))
    with pytest.raises(AuthError, match="holds no token"):
        replay(vertex(credentials=file).refresh(NONE))


def test_a_missing_file(tmp_path: Path) -> None:
    """A file that is named must be there: others are not taken in its place."""
    with pytest.raises(AuthError, match="does not exist"):
        replay(vertex(credentials=tmp_path / "none.json").refresh(NONE))


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package for signatures the message says which to install."""
    real = builtins.__import__

    def missing(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(AuthError, match=r"ccr-plugin-vertex\[vertex\]"):
        replay(vertex(credentials=written(tmp_path / "key.json", service_account())).refresh(NONE))


# --- where requests go -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("https://europe-west4-aiplatform.googleapis.com", {"location": "europe-west4"}),
        ("https://aiplatform.eu.rep.googleapis.com/", {"location": "eu"}),
        ("https://aiplatform.googleapis.com", {}),
        ("https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/global", {}),
        ("https://europe-west4-aiplatform.googleapis.com.evil.example", {}),
    ],
)
def test_a_location_in_an_address(url: str, options: dict[str, str]) -> None:
    """A host without a path says where the models are; with a path the address is used as it is."""
    assert options == located(url)


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west1", "europe-west1-aiplatform.googleapis.com"),
    ],
)
def test_hosts(location: str, host: str) -> None:
    """Each location has its host."""
    assert host == host_of(location)


GEMINI = f"https://aiplatform.googleapis.com{PLACE}/publishers/google/models/m:x"
CLAUDE = f"https://aiplatform.googleapis.com{PLACE}/publishers/anthropic/models/m:x"


@pytest.mark.parametrize(
    ("url", "env", "options", "placed"),
    [
        (GEMINI, {}, {}, "https://us-central1-aiplatform.googleapis.com/v1/projects/own/locations/us-central1/"),
        (CLAUDE, {}, {}, "https://us-east5-aiplatform.googleapis.com/v1/projects/own/locations/us-east5/"),
        (
            CLAUDE,
            {"GOOGLE_CLOUD_PROJECT": "env", "GOOGLE_CLOUD_LOCATION": "global"},
            {},
            "https://aiplatform.googleapis.com/v1/projects/env/locations/global/",
        ),
        (
            GEMINI,
            {"GOOGLE_CLOUD_PROJECT": "env", "GOOGLE_VERTEX_PROJECT": "vertex", "GOOGLE_VERTEX_LOCATION": "eu"},
            {},
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/vertex/locations/eu/",
        ),
        (
            GEMINI,
            {"GOOGLE_CLOUD_PROJECT": "env"},
            {"project": "set", "location": "asia-east1"},
            "https://asia-east1-aiplatform.googleapis.com/v1/projects/set/locations/asia-east1/",
        ),
        (
            f"http://127.0.0.1:1{PLACE}/x",
            {},
            {"location": "eu"},
            "http://127.0.0.1:1/v1/projects/own/locations/eu/",
        ),
        ("https://eu-x-aiplatform.googleapis.com/v1/y/", {}, {}, "https://eu-x-aiplatform.googleapis.com/v1/y/"),
    ],
)
def test_places(
    monkeypatch: pytest.MonkeyPatch, url: str, env: dict[str, str], options: dict[str, str], placed: str
) -> None:
    """Project and location: the configuration's, else the environment's, else the credentials' and the usual ones."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    assert vertex(**options).placed(url, {"project": "own"}).startswith(placed)


def test_no_project() -> None:
    """Without a project nothing is sent."""
    with pytest.raises(AuthError, match="set GOOGLE_CLOUD_PROJECT"):
        vertex().apply(WireRequest(url=GEMINI, headers={}), Token(access="t"))


def test_no_token() -> None:
    """Without a token nothing is sent."""
    with pytest.raises(AuthError, match="no Google Cloud credentials"):
        vertex().apply(WireRequest(url=GEMINI, headers={}), None)


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [("claude-sonnet-4-6", "claude"), ("gemini-2.5-pro", "gemini"), ("meta/llama-4-maverick", "open")],
)
def test_endpoints(model: str, endpoint: str) -> None:
    """The model decides in which format it is asked."""
    assert endpoint == vertex().endpoint(model, None)
