"""Holding the conversations of logins: the callback, the network, programs that steer a login."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ccr_core import (
    Ask,
    AuthError,
    AwaitCallback,
    Call,
    Flow,
    Listen,
    Now,
    OpenUrl,
    Say,
    ShowCode,
    Sleep,
    UpstreamError,
    WireRequest,
    get_call,
    post_call,
)
from ccr_core.login import Front, Http, Logins, Session, _tls, converse, quietly
from ccr_core.testing.loopback import Vendor

STATE = "the-right-state"


class User(Front):
    """A user who notes what is shown and types what the test says."""

    def __init__(self, *typed: str) -> None:
        self.typed = list(typed)
        self.notes: list[str] = []
        self.opened: asyncio.Queue[str] = asyncio.Queue()

    def say(self, text: str) -> None:
        self.notes.append(text)

    def open_url(self, url: str) -> None:
        self.opened.put_nowait(url)

    async def ask(self, text: str, secret: bool) -> str:
        return self.typed.pop(0)

    async def pasted(self) -> str:
        if not self.typed:
            await asyncio.Event().wait()
        return self.typed.pop(0)


def by_browser(**listen: Any) -> Flow[str]:
    uri: str = yield Listen(**{"state": STATE, "path": "/cb", **listen})
    yield OpenUrl(uri)
    code: str = yield AwaitCallback(listen.pop("seconds", 20.0))
    return code


@pytest.fixture
async def login() -> AsyncIterator[tuple[str, asyncio.Task[str]]]:
    """A login that waits: its redirect URI and its task."""
    user = User()
    task = asyncio.create_task(converse(by_browser(), user, Http()))
    uri = await asyncio.wait_for(user.opened.get(), 10)
    yield uri, task
    task.cancel()
    await asyncio.wait({task})


async def send(uri: str, raw: bytes) -> bytes:
    """Send bytes to the callback and read all that comes back."""
    parts = urlsplit(uri)
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.port)
    writer.write(raw)
    await writer.drain()
    try:
        async with asyncio.timeout(15):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def get(uri: str, target: str, host: str | None = None, method: str = "GET", **headers: str) -> bytes:
    """Ask the callback for ``target``."""
    host = host or urlsplit(uri).netloc
    lines = [
        f"{method} {target} HTTP/1.1",
        f"host: {host}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return await send(uri, ("\r\n".join(lines) + "\r\n\r\n").encode())


def target(**fields: str) -> str:
    return f"/cb?{urlencode(fields)}"


async def test_the_browser_comes_back(login: Any) -> None:
    """The code is taken, and the page gives nothing away."""
    uri, task = login
    answer = await get(uri, target(code="c-1", state=STATE))

    assert "c-1" == await asyncio.wait_for(task, 10)
    head, _, page = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    for line in (b"connection: close", b"cache-control: no-store", b"referrer-policy: no-referrer"):
        assert line in head
    assert b"c-1" not in page
    assert STATE.encode() not in answer


HOSTILE = {
    "no state": target(code="evil"),
    "another state": target(code="evil", state="other"),
    "state of another length": target(code="evil", state=STATE + "x"),
    "an error without state": target(error="access_denied"),
    "an error with another state": target(error="access_denied", error_description="<script>", state="x"),
    "no code": target(state=STATE),
    "an empty code": target(code="", state=STATE),
    "another path": f"/other?code=evil&state={STATE}",
    "a longer path": f"/cb/?code=evil&state={STATE}",
    "the root": "/",
    "a path up": f"/../cb?code=evil&state={STATE}",
    "an absolute address": f"http://evil.example/x?code=evil&state={STATE}",
    "not ASCII": f"/cb?code=evil&state={STATE}\u00e9",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile(login: Any, name: str) -> None:
    """What is not the vendor's answer gets nothing and breaks nothing: the right one still works."""
    uri, task = login
    answer = await get(uri, HOSTILE[name])

    assert re.match(rb"HTTP/1.1 (400|404) ", answer)
    assert b"<script" not in answer
    assert b"evil" not in answer
    assert not task.done()
    await get(uri, target(code="c-1", state=STATE))
    assert "c-1" == await asyncio.wait_for(task, 10)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "[::1]", "127.0.0.1.evil.example:80", ""])
async def test_foreign_names(login: Any, host: str) -> None:
    """A name under which a foreign page could reach this machine is not answered."""
    uri, task = login

    answer = await get(uri, target(code="evil", state=STATE), host=host or " ")

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert not task.done()


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS"])
async def test_other_methods(login: Any, method: str) -> None:
    """Only what a browser does when it is sent somewhere is taken."""
    uri, task = login

    answer = await get(uri, target(code="evil", state=STATE), method=method)

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert not task.done()


@pytest.mark.parametrize(
    "raw",
    [b"\r\n\r\n", b"GET\r\n\r\n", b"x" * 100_000, b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /cb HTTP/1.1\r\nhost\r\n\r\n"],
)
async def test_no_http(login: Any, raw: bytes) -> None:
    """What is no request does not end the login."""
    uri, task = login

    await send(uri, raw)

    assert not task.done()
    await get(uri, target(code="c-1", state=STATE))
    assert "c-1" == await asyncio.wait_for(task, 10)


async def test_the_vendors_refusal(login: Any) -> None:
    """With the right state it ends the login; its words are text on the page, whatever they are."""
    uri, task = login

    answer = await get(uri, target(error="access_denied", error_description="<script>x</script>&", state=STATE))

    with pytest.raises(AuthError, match="the vendor refused: <script>x</script>&"):
        await asyncio.wait_for(task, 10)
    assert b"<script" not in answer
    assert b"&lt;script&gt;" in answer


async def test_only_once(login: Any) -> None:
    """After the first answer nothing listens any more."""
    uri, task = login
    answers = await asyncio.gather(
        *(get(uri, target(code=f"c-{number}", state=STATE)) for number in range(5)), return_exceptions=True
    )
    code = await asyncio.wait_for(task, 10)

    assert code in {f"c-{number}" for number in range(5)}
    assert any(isinstance(answer, bytes) and answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    with pytest.raises(OSError):
        await get(uri, target(code="late", state=STATE))


async def test_loopback_only(login: Any) -> None:
    """Nobody on the network can reach it."""
    uri, _ = login
    port = urlsplit(uri).port
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port, type=socket.SOCK_STREAM)}
    for address in addresses:
        if not address.startswith("127.") and address != "::1":
            with pytest.raises(OSError):
                socket.create_connection((str(address), port or 0), timeout=2).close()


async def test_both_loopbacks(login: Any) -> None:
    """``localhost`` may mean either address."""
    uri, task = login
    try:
        reader, writer = await asyncio.open_connection("::1", urlsplit(uri).port)
    except OSError:
        assert not socket.has_ipv6 or not _ipv6_works()
        return
    writer.write(f"GET {target(code='c-6', state=STATE)} HTTP/1.1\r\nhost: {urlsplit(uri).netloc}\r\n\r\n".encode())
    await reader.read()
    writer.close()

    assert "c-6" == await asyncio.wait_for(task, 10)


async def test_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address to listen on may be another one; what the vendor is told stays this machine's name."""
    monkeypatch.setenv("CCR_OAUTH_CALLBACK_HOST", "127.0.0.2")
    user = User()
    task = asyncio.create_task(converse(by_browser(), user, Http()))
    uri = await asyncio.wait_for(user.opened.get(), 10)
    assert "localhost" == urlsplit(uri).hostname
    reader, writer = await asyncio.open_connection("127.0.0.2", urlsplit(uri).port)
    writer.write(f"GET {target(code='c-7', state=STATE)} HTTP/1.1\r\nhost: {urlsplit(uri).netloc}\r\n\r\n".encode())
    await reader.read()
    writer.close()

    assert "c-7" == await asyncio.wait_for(task, 10)


def _ipv6_works() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def test_programs_may_end_it(login: Any) -> None:
    """Another program that needs the port may ask for it; a page may not."""
    uri, task = login
    for header in (
        {"origin": "http://evil.example"},
        {"referer": "http://evil.example/"},
        {"sec_fetch_site": "cross-site"},
    ):
        assert (await get(uri, "/cancel", **header)).startswith(b"HTTP/1.1 404 ")
    assert not task.done()

    await get(uri, "/cancel")

    with pytest.raises(AuthError, match="ended by another program"):
        await asyncio.wait_for(task, 10)


async def test_a_port_that_is_taken() -> None:
    """The next one is used."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        ports = (taken.getsockname()[1], other.getsockname()[1])
        other.close()
        user = User()
        task = asyncio.create_task(converse(by_browser(ports=ports), user, Http()))
        uri = await asyncio.wait_for(user.opened.get(), 20)
        assert ports[1] == urlsplit(uri).port
        await get(uri, target(code="c", state=STATE))
        assert "c" == await asyncio.wait_for(task, 10)


async def test_all_ports_are_taken() -> None:
    """The address can still be pasted."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        user = User(f"?code=c&state={STATE}")
        code = await asyncio.wait_for(converse(by_browser(ports=(taken.getsockname()[1],)), user, Http()), 20)

    assert "c" == code


async def test_a_second_login_takes_the_port() -> None:
    """It asks the first to end, which says so."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first_user, second_user = User(), User()
    first = asyncio.create_task(converse(by_browser(ports=(port,)), first_user, Http()))
    await asyncio.wait_for(first_user.opened.get(), 10)
    second = asyncio.create_task(converse(by_browser(ports=(port,), state="second"), second_user, Http()))
    uri = await asyncio.wait_for(second_user.opened.get(), 10)

    with pytest.raises(AuthError, match="ended by another program"):
        await asyncio.wait_for(first, 10)
    assert (await get(uri, target(code="old", state=STATE))).startswith(b"HTTP/1.1 400 ")
    await get(uri, target(code="new", state="second"))
    assert "new" == await asyncio.wait_for(second, 10)


async def test_nobody_comes() -> None:
    """The login ends by itself."""

    def flow() -> Flow[str]:
        yield Listen(state=STATE)
        code: str = yield AwaitCallback(0.05)
        return code

    with pytest.raises(AuthError, match="nobody signed in"):
        await converse(flow(), User(), Http())


async def test_pasting() -> None:
    """What cannot be used is told, and may be corrected."""
    user = User("nonsense with spaces", f"?code=c&state={STATE}x", f"http://localhost:1/cb?code=c&state={STATE}")

    assert "c" == await converse(by_browser(), user, Http())
    assert 2 == len(user.notes)


async def test_a_page_to_copy_from() -> None:
    """Without a browser the vendor's own page is used where there is one, and nothing listens."""
    user = User("c#" + STATE)
    user.headless = True  # type: ignore[misc]

    assert "c" == await converse(by_browser(paste="https://vendor.example/code"), user, Http())
    assert "https://vendor.example/code" == user.opened.get_nowait()


# The network.


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as made:
        yield made


def calls(*commands: Call) -> Flow[list[Any]]:
    replies = []
    for command in commands:
        replies.append((yield command))
    return replies


def test_calls(vendor: Vendor) -> None:
    """Forms and JSON go out as such; answers come back whole."""
    vendor.routes["POST /form"] = lambda hit: hit.form
    vendor.routes["POST /json"] = lambda hit: (418, hit.json)

    one, two = quietly(
        calls(post_call(f"{vendor.url}/form", form={"a": "1 2"}), post_call(f"{vendor.url}/json", json={"b": 1})),
        Http(),
    )

    assert ({"a": "1 2"}, 418, {"b": 1}) == (json.loads(one.body), two.status, json.loads(two.body))
    assert "application/json" == vendor.hits[0].headers["accept"]


def test_redirects_are_not_followed(vendor: Vendor) -> None:
    """A token never goes where the vendor's answer points."""
    vendor.routes["GET /a"] = lambda hit: (302, {"location": f"{vendor.url}/b", "content-length": "0"}, b"")

    (reply,) = quietly(calls(get_call(f"{vendor.url}/a", {"authorization": "Bearer secret-token"})), Http())

    assert (302, 1) == (reply.status, len(vendor.hits))


def test_loopback_bypasses_the_proxy(vendor: Vendor) -> None:
    """A proxy is for the world outside."""
    vendor.routes["GET /a"] = lambda hit: {}
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        (reply,) = quietly(calls(get_call(f"{vendor.url}/a")), Http(address))

    assert 200 == reply.status


def test_through_a_proxy(vendor: Vendor) -> None:
    """Everything else goes through it."""
    vendor.routes["GET /a"] = lambda hit: {"via": hit.headers["host"]}

    (reply,) = quietly(calls(get_call("http://vendor.example/a")), Http(vendor.url))
    assert {"via": "vendor.example"} == json.loads(reply.body)

    with pytest.raises(UpstreamError):
        quietly(calls(get_call("http://vendor.invalid/a")), Http(vendor.url, ("invalid",)))


def certificate(folder: Path) -> Path:
    """A key and a certificate of nobody for ``localhost``, in one file."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "localhost.pem"
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize("trusted", [True, False])
def test_who_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    """Login services are trusted as providers are: by the system's roots, among them those of ``SSL_CERT_FILE``."""
    file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    _tls.cache_clear()
    vendor = Vendor({"GET /me": lambda hit: {"id": 1}})
    # The handshake is left to the thread of the connection, which closes it whatever becomes of it.
    vendor._server.socket = context.wrap_socket(vendor._server.socket, server_side=True, do_handshake_on_connect=False)
    monkeypatch.setattr(vendor._server, "handle_error", lambda *args: None)
    with vendor:
        call = get_call(vendor.url.replace("http://127.0.0.1", "https://localhost") + "/me")
        try:
            if trusted:
                assert {"id": 1} == json.loads(Http().call(call).body)
            else:
                with pytest.raises(UpstreamError, match="certificate"):
                    Http().call(call)
        finally:
            _tls.cache_clear()


def test_no_answer() -> None:
    """It is an error inside the flow, which may go on."""

    def flow() -> Flow[str]:
        try:
            yield get_call("http://127.0.0.1:9/")
        except UpstreamError as error:
            return error.message
        return ""

    assert "cannot reach 127.0.0.1" in quietly(flow(), Http())


def test_a_renewal_asks_nobody() -> None:
    """A flow that needs the user cannot run behind their back."""
    for command in (Ask("name"), OpenUrl("http://x"), ShowCode("u", "c"), Listen(state="s")):

        def flow(command: Any = command) -> Flow[None]:
            yield command

        with pytest.raises(AuthError, match="sign in again"):
            quietly(flow(), Http())


def test_sleeping_and_the_time() -> None:
    """They are the driver's."""
    slept: list[float] = []

    def flow() -> Flow[float]:
        yield Sleep(3)
        now: float = yield Now()
        return now

    assert 7.0 == quietly(flow(), Http(), clock=lambda: 7.0, sleep=slept.append)
    assert [3] == slept


def test_nothing_secret_in_errors_or_logs(vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    """What was sent or received is cut out of a failure, however the vendor quotes it."""
    caplog.set_level(logging.DEBUG)
    vendor.routes["POST /token"] = lambda hit: {"access_token": "sekret-access", "nested": [{"id_token": "sekret-id"}]}
    secrets = {"refresh_token": "sekret-refresh", "code": "sekret-code", "code_verifier": "sekret-verifier"}

    def flow() -> Flow[None]:
        yield post_call(f"{vendor.url}/token", form=secrets, headers={"authorization": "Bearer sekret-bearer"})
        yield Say("you said sekret-refresh")
        words = " ".join([*secrets.values(), "sekret-access", "sekret-id", "sekret-bearer"])
        raise AuthError(f"the vendor says: {words}")

    with pytest.raises(AuthError) as caught:
        quietly(flow(), Http())

    assert "the vendor says: … … … … … …" == caught.value.message
    assert "sekret" not in str(caught.value)
    assert "sekret" not in caplog.text
    assert "sekret" not in repr(post_call("u", form=secrets))


# Programs that steer a login.


async def keep(token: str) -> str:
    return f"account of {token}"


def session(flow: Flow[str]) -> Session:
    return Session("p", flow, Http(), keep)


async def test_a_session_with_a_browser() -> None:
    """It shows the address, waits, and is done when the browser came back."""
    made = session(by_browser())
    shown = await made.started()
    assert ("waiting", "browser") == (shown["state"], shown["method"])

    await get(shown["auth_url"], target(code="c-1", state=STATE))

    assert {"provider": "p", "state": "done", "notes": [], "account": "account of c-1"} == await made.wait()


async def test_a_session_that_is_pasted() -> None:
    """What the user pastes into the page is passed on; what is wrong becomes a note."""
    made = session(by_browser())
    await made.started()

    made.finish("?code=c&state=wrong")
    async with asyncio.timeout(10):
        while not made.status()["notes"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    made.finish(f"?code=c&state={STATE}")

    done = await made.wait()
    assert ("done", "account of c", 1) == (done["state"], done["account"], len(done["notes"]))


async def test_a_session_with_a_code() -> None:
    """It shows the code, and asks what the flow asks."""

    def flow() -> Flow[str]:
        yield ShowCode("http://v.example", "AB-12", 60)
        name: str = yield Ask("project", secret=True)
        return name

    made = session(flow())
    await made.started()
    async with asyncio.timeout(10):
        while made.status()["state"] != "asking":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    shown = made.status()
    assert ("AB-12", "project", True) == (shown["user_code"], shown["question"], shown["secret"])

    made.finish(" mine ")

    assert "account of mine" == (await made.wait())["account"]
    with pytest.raises(AuthError, match="does not wait"):
        made.finish("more")


@pytest.mark.parametrize("error", [AuthError("the vendor says no"), ValueError("a fault")])
async def test_a_session_that_fails(error: Exception) -> None:
    """The reason is told; a fault of the plugin without its details."""

    def flow() -> Flow[str]:
        yield Sleep(0)
        raise error

    done = await session(flow()).wait()

    assert "failed" == done["state"]
    assert ("the vendor says no" if isinstance(error, AuthError) else "fault of the plugin: ValueError") in done[
        "error"
    ]


async def until(made: Session, state: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while made.status()["state"] != state:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return made.status()


async def test_a_session_that_is_cancelled() -> None:
    """It listens no more, and says that it was ended."""
    made = session(by_browser())
    shown = await made.started()

    await made.cancel()

    assert {"provider": "p", "state": "failed", "notes": [], "error": "the sign-in was ended"} == made.status()
    with pytest.raises(OSError):
        await get(shown["auth_url"], target(code="c", state=STATE))
    with pytest.raises(AuthError, match="does not wait"):
        made.finish(f"?code=c&state={STATE}")


async def test_a_session_in_which_nobody_signs_in() -> None:
    """It ends by itself when its time is over; until then it says when that is."""

    def flow() -> Flow[str]:
        yield Listen(state=STATE)
        yield OpenUrl("http://v.example")
        code: str = yield AwaitCallback(0.2)
        return code

    made = session(flow())
    shown = await made.started()
    assert 290 < shown["expires_at"] - time.time() <= 300

    done = await made.wait()
    assert ("failed", "nobody signed in within 0.2 s; try again") == (done["state"], done["error"])


async def test_a_session_that_the_vendor_refuses() -> None:
    """The vendor's words are told, whether the browser brings them or the user."""
    for pasted in (True, False):
        made = session(by_browser())
        shown = await made.started()
        if pasted:
            made.finish(f"?error=access_denied&error_description=Not+you&state={STATE}")
        else:
            await get(shown["auth_url"], target(error="access_denied", error_description="Not you", state=STATE))

        done = await made.wait()
        assert ("failed", "the vendor refused: Not you") == (done["state"], done["error"])


async def test_answers_are_for_questions() -> None:
    """What is given while a code is waited for is refused, and a question is shown until its answer is there."""

    def flow() -> Flow[str]:
        yield ShowCode("http://v.example", "AB-12", 60)
        yield Sleep(0.1)
        first: str = yield Ask("one")
        second: str = yield Ask("two")
        yield Sleep(0.1)
        return first + second

    made = session(flow())
    await made.started()
    with pytest.raises(AuthError, match="does not wait"):
        made.finish("too early")
    assert "one" == (await until(made, "asking"))["question"]
    made.finish("a")
    with pytest.raises(AuthError, match="does not wait"):
        made.finish("twice")
    async with asyncio.timeout(10):
        while made.status().get("question") != "two":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    made.finish("b")
    shown = await until(made, "waiting")
    assert ("AB-12", None) == (shown["user_code"], shown.get("question"))

    assert "account of ab" == (await made.wait())["account"]


async def test_nothing_secret_in_the_status(vendor: Vendor) -> None:
    """No token, code, verifier or typed secret is ever shown to the program, whatever flow and vendor say."""
    vendor.routes["POST /token"] = lambda hit: {"access_token": "sekret-access", "refresh_token": "sekret-refresh"}
    seen: list[dict[str, Any]] = []

    def flow() -> Flow[str]:
        yield Listen(state=STATE)
        yield OpenUrl("http://v.example")
        code: str = yield AwaitCallback(5)
        typed: str = yield Ask("Token", secret=True)
        seen.append(made.status())
        form = {"code": code, "code_verifier": "sekret-verifier", "password": typed}
        yield post_call(f"{vendor.url}/token", form=form)
        yield Say("got sekret-access and sekret-refresh for sekret-code")
        seen.append(made.status())
        raise AuthError(f"the vendor says: {code} {typed} sekret-verifier sekret-access sekret-refresh")

    made = session(flow())
    seen.append(await made.started())
    made.finish(f"?code=sekret-code&state={STATE}")
    seen.append(await until(made, "asking"))
    made.finish("sekret-typed")
    seen.append(await made.wait())

    assert 5 == len(seen)
    assert "sekret" not in json.dumps(seen)
    assert ["got … and … for …"] == seen[-1]["notes"]


async def test_a_second_session_replaces_the_first() -> None:
    """One login for each provider; the new one has its own state."""
    logins = Logins()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first = await logins.start("p", lambda: session(by_browser(ports=(port,), state="one")))
    old = logins.find("p")
    second = await logins.start("p", lambda: session(by_browser(ports=(port,), state="two")))

    assert ("failed", "waiting") == (old.status()["state"], logins.find("p").status()["state"])
    assert first["auth_url"] == second["auth_url"]
    assert (await get(second["auth_url"], target(code="c", state="one"))).startswith(b"HTTP/1.1 400 ")
    await get(second["auth_url"], target(code="c", state="two"))
    assert "done" == (await logins.find("p").wait())["state"]

    with pytest.raises(AuthError, match="no sign-in for other"):
        logins.find("other")
    await logins.close()


def test_wire_requests_of_calls() -> None:
    """A call shows where it goes, and nothing of its form."""
    assert Call(WireRequest(url="http://x"), {"code": "sekret"}).form == {"code": "sekret"}
    assert "sekret" not in repr(Call(WireRequest(url="http://x"), {"code": "sekret"}))
