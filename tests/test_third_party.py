"""Plugins of other people: a package written from the guide alone, and packages that fail in every place they can.

Both are built outside the tree and installed with pip into a virtual environment of their own, beside the core.
Nothing is fetched: that environment sees the packages of the one that runs the tests, and pip uses no index.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sysconfig
import textwrap
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import Any

import attrs
import pytest
from doc_blocks import ROOT, blocks

GUIDE = ROOT / "docs" / "writing-a-plugin.md"

SECONDS = 60.0
"""How long anything here may take."""

BACKEND = """
[build-system]
requires = ["uv_build"]
build-backend = "uv_build"

[tool.uv.build-backend]
module-root = ""
"""


@attrs.frozen
class Place:
    """A virtual environment beside the core, and a home for ccr in it."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Place:
        """A fresh environment that sees the packages of this one."""
        place = cls(folder)
        venv.create(folder / "env", symlinks=os.name != "nt", with_pip=False)
        packages = sysconfig.get_path("purelib", "venv", {"base": str(folder / "env")})
        # Through addsitedir, so that the editable installations of this environment count there, too.
        beside = sysconfig.get_path("purelib")
        (Path(packages) / "beside.pth").write_text(f"import site; site.addsitedir({beside!r})\n")
        (folder / "ccr-home").mkdir()
        return place

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def environ(self) -> dict[str, str]:
        """Its environment variables: nothing of the person who runs the tests."""
        kept = {name: os.environ[name] for name in ("SYSTEMROOT", "TMPDIR") if name in os.environ}
        # The build backend looks for its program there.
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
        return {
            **kept,
            "PATH": path,
            "HOME": str(self.folder),
            "CCR_HOME": str(self.folder / "ccr-home"),
            "PYTHONUTF8": "1",
        }

    def run(self, *words: str | Path, cwd: Path | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run its interpreter and wait."""
        return subprocess.run(
            [str(self.python), *map(str, words)],
            cwd=cwd or self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            **more,
        )

    def install(self, *sources: Path) -> None:
        """Build the packages in these folders and install them, with pip."""
        done = self.run(
            *("-m", "pip", "install", "--disable-pip-version-check", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--no-cache-dir"),
            *sources,
        )
        assert 0 == done.returncode, done.stdout + done.stderr

    def ccr(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of ccr."""
        return self.run("-m", "ccr_core.cli", *words, **more)

    def plugins(self) -> dict[str, dict[str, Any]]:
        """What ``ccr plugins list --json`` says, by plugin name."""
        done = self.ccr("plugins", "list", "--json")
        assert 0 == done.returncode, done.stdout + done.stderr
        return {plugin["name"]: plugin for plugin in json.loads(done.stdout)["plugins"]}

    @contextlib.contextmanager
    def router(self) -> Iterator[str]:
        """A real ``ccr start``; gives its URL."""
        log = self.folder / "start.log"
        with (
            log.open("w") as errors,
            subprocess.Popen(
                [str(self.python), "-m", "ccr_core.cli", "start", "--port", "0"],
                cwd=self.folder,
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            try:
                assert process.stdout is not None
                said = process.stdout.readline()
                url = re.search(r"http://\S+", said)
                assert url is not None, said + log.read_text()
                yield url[0]
            finally:
                process.terminate()
                process.wait(SECONDS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The environment in which the package of the guide is installed."""
    made = Place.make(tmp_path_factory.mktemp("third-party"))
    source = made.folder / "source"
    for name, text in guide_files().items():
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    (made.folder / "ccr-home" / "config.toml").write_text((source / "config.toml").read_text("utf-8"), "utf-8")
    made.install(source)
    return made


def guide_files() -> dict[str, str]:
    """The files of the package that the guide writes, ``py.typed`` included, which is empty."""
    files = {block.about: block.text for block in blocks(GUIDE) if block.mark == "file"}
    return {**files, "ccr_plugin_plain_quotes/py.typed": ""}


def post(url: str, body: Mapping[str, Any]) -> tuple[int, Message, str]:
    """Send a request to the Messages API: status, headers and body of the answer."""
    request = urllib.request.Request(
        f"{url}/v1/messages", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=SECONDS) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def text_of_stream(body: str) -> str:
    """The text that a stream of events amounts to."""
    events = [json.loads(line[5:]) for line in body.splitlines() if line.startswith("data:")]
    return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")


QUESTION = "“so” → it goes…"


def test_the_guide_lists_the_files_it_shows() -> None:
    """The tree at the beginning names what the listings hold, and nothing else."""
    tree = next(block.text for block in blocks(GUIDE) if block.text.startswith("ccr-plugin-plain-quotes/"))
    shown = set(re.findall(r"[\w.]+\.(?:toml|md|py|typed)\b", tree))

    assert {Path(name).name for name in guide_files()} - {"config.toml"} == shown


def test_its_own_tests_pass(place: Place) -> None:
    """The tests that the guide writes pass, with nothing but the public test kit."""
    done = place.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=place.folder / "source")

    assert 0 == done.returncode, done.stdout + done.stderr


def test_it_is_listed(place: Place) -> None:
    """``ccr plugins list`` shows the package, that it is active, used, and what it offers."""
    plugin = place.plugins()["plain-quotes"]

    assert {
        "name": "plain-quotes",
        "distribution": "ccr-plugin-plain-quotes",
        "version": "0.1.0",
        "state": "active",
        "reason": "",
        "offers": {"ccr_transformers": ["plain-quotes"]},
        "used": True,
    } == plugin


def test_a_request_goes_through_it(place: Place) -> None:
    """A real router answers with what the transformer made of the answer, streamed and whole."""
    ask = {"model": "echo,echo", "max_tokens": 100, "messages": [{"role": "user", "content": QUESTION}]}

    with place.router() as url:
        streamed = post(url, {**ask, "stream": True})
        whole = post(url, ask)

    assert [200, 200] == [streamed[0], whole[0]]
    assert '"so" -> it goes...' in text_of_stream(streamed[2])
    assert '"so" -> it goes...' in "".join(block.get("text", "") for block in json.loads(whole[2])["content"])
    assert "echo,echo" == streamed[1]["x-ccr-route"].partition(";")[0]


def test_it_is_explained(place: Place) -> None:
    """``ccr explain`` shows the step and what it changed."""
    ask = {"model": "echo,echo", "max_tokens": 100, "messages": [{"role": "user", "content": QUESTION}]}

    done = place.ccr("explain", "--json", input=json.dumps(ask))
    step = json.loads(done.stdout)["steps"][0]

    assert ("plain-quotes", "ccr-plugin-plain-quotes 0.1.0", ["system"]) == (
        step["name"],
        step["plugin"],
        [change["path"] for change in step["changed"]],
    )


def test_its_options_are_checked(place: Place) -> None:
    """A wrong option is reported with its place and the name that was meant."""
    wrong = place.folder / "wrong.toml"
    wrong.write_text(
        '[[Providers]]\nname = "echo"\nmodels = ["echo"]\n'
        'transformer = { use = [["plain-quotes", { asks = false }]] }\n'
    )

    done = place.ccr("config", "check", "--config", str(wrong))

    assert 1 == done.returncode
    assert "Providers[0].transformer.use[0][1].asks" in done.stderr
    assert 'did you mean "ask"?' in done.stderr


# --- packages that fail -------------------------------------------------------------------------------------

BROKEN = {
    "at-import": 'raise RuntimeError("no such luck")',
    "at-exit": "import sys\nsys.exit(3)",
    "in-syntax": "def broken(:",
    "in-hook": """
        from ccr_core import hookimpl

        @hookimpl
        def ccr_rules():
            yield from ()
            raise RuntimeError("the hook failed")
        """,
    "in-value": """
        from ccr_core import hookimpl

        @hookimpl
        def ccr_transformers():
            return ["not a spec"]
        """,
    "no-such-hook": """
        from ccr_core import hookimpl

        @hookimpl
        def ccr_teapots():
            return []
        """,
    "wrong-arguments": """
        from ccr_core import hookimpl

        @hookimpl
        def ccr_rules(everything):
            return []
        """,
}
"""Packages that cannot be used, by what is wrong with them."""

FAILING = """
from ccr_core import (
    Counter, CounterSpec, Observer, ObserverSpec, Pass, RuleSpec, Transformer, TransformerSpec, hookimpl
)


class InRequest(Transformer):
    def on_request(self, request):
        raise KeyError("the step failed")


class InAnswer(Transformer):
    def feed(self, event):
        raise KeyError("the step failed")


class Watching(Observer):
    def on(self, observation):
        raise KeyError("the observer failed")


class Counting(Counter):
    def count(self, text):
        raise KeyError("the counter failed")


def decide(request, ctx):
    raise KeyError("the rule failed")


def needs(options):
    raise KeyError("the rule's needs failed")


@hookimpl
def ccr_transformers():
    yield TransformerSpec(name="in-request", factory=InRequest)
    yield TransformerSpec(name="in-answer", factory=InAnswer)


@hookimpl
def ccr_rules():
    yield RuleSpec(name="failing", decide=decide, needs=needs)
    yield RuleSpec(name="size", decide=lambda request, ctx: Pass(f"{ctx.tokens}"), needs=frozenset({"tokens"}))


@hookimpl
def ccr_token_counters():
    yield CounterSpec(name="failing", factory=Counting, models=("echo", "big"))


@hookimpl
def ccr_observers():
    yield ObserverSpec(name="failing", factory=lambda options, home: Watching())
"""
"""A package that loads, and fails when it is used."""

CONFIG = """
[Router]
default = "echo,echo"
rules = ["failing", "size", "explicit", "default"]

[[Providers]]
name = "echo"
models = ["echo"]

[[Providers]]
name = "refusing"
api_base_url = "embedded:echo"
models = ["echo"]
transformer = { use = ["in-request"] }

[[Providers]]
name = "stumbling"
api_base_url = "embedded:echo"
models = ["echo"]
transformer = { use = ["in-answer"] }
"""

HELLO = {"max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An environment with every failing package at once, beside those that come with ccr."""
    made = Place.make(tmp_path_factory.mktemp("failing"))
    source = made.folder / "source"
    names = {**BROKEN, "failing": FAILING}
    for name, text in names.items():
        pack(source / name, name, textwrap.dedent(text).lstrip())
    made.install(*(source / name for name in names))
    (made.folder / "ccr-home" / "config.toml").write_text(CONFIG)
    return made


def pack(folder: Path, name: str, text: str) -> None:
    """Make a distribution ``third-<name>`` whose module holds ``text``."""
    package = folder / f"third_{name.replace('-', '_')}"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(text)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "third-{name}"\nversion = "2.5"\n'
        f'[project.entry-points.ccr]\n{name} = "{package.name}"\n{BACKEND}'
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("at-import", r"RuntimeError: no such luck \(__init__.py:1\)"),
        ("at-exit", r"SystemExit: 3 \(__init__.py:2\)"),
        ("in-syntax", r"SyntaxError: .*\(__init__.py, line 1\)"),
        ("in-hook", r"ccr_rules: RuntimeError: the hook failed \(__init__.py:6\)"),
        ("in-value", r"ccr_transformers: TypeError: .*'not a spec'.*TransformerSpec"),
        ("no-such-hook", r".*unknown hook ccr_teapots; known: ccr_dialects"),
        ("wrong-arguments", r".*everything"),
    ],
)
def test_a_broken_package_is_named(crowd: Place, name: str, expected: str) -> None:
    """Whatever breaks while a plugin loads, it is listed by name and version, as failed, with the reason."""
    plugin = crowd.plugins()[name]

    assert (f"third-{name}", "2.5", "failed", {}) == tuple(
        plugin[field] for field in ("distribution", "version", "state", "offers")
    )
    assert re.match(expected, plugin["reason"]), plugin["reason"]


def test_the_others_are_active(crowd: Place) -> None:
    """Everything that is not itself broken is active."""
    plugins = crowd.plugins()

    assert set(BROKEN) == {name for name, plugin in plugins.items() if plugin["state"] == "failed"}
    assert {"anthropic", "echo", "openai-chat", "rule-default", "failing"} <= {
        name for name, plugin in plugins.items() if plugin["state"] == "active"
    }


def test_the_router_works_on(crowd: Place) -> None:
    """With all of them installed requests are answered; the rule that fails declines, the observer changes nothing."""
    ask = {"model": "big", **HELLO}

    with crowd.router() as url:
        answers = [post(url, ask) for _ in range(7)]

    assert [200] * 7 == [status for status, _, _ in answers]
    assert {"echo,echo; rule=default; scenario=default"} == {headers["x-ccr-route"] for _, headers, _ in answers}


def test_a_failing_step_is_named(crowd: Place) -> None:
    """A step that raises fails its own exchange, by name and place, and no other."""
    with crowd.router() as url:
        refused = post(url, {**HELLO, "model": "refusing,echo"})
        stumbled = post(url, {**HELLO, "model": "stumbling,echo", "stream": True})
        fine = post(url, {**HELLO, "model": "echo,echo", "stream": True})

    for (status, _, body), step, method in ((refused, "in-request", "on_request"), (stumbled, "in-answer", "feed")):
        assert 500 == status
        message = json.loads(body)["error"]["message"]
        assert step in message
        assert "third-failing 2.5" in message
        assert f"failed in {method}: KeyError: 'the step failed'" in message
    assert 200 == fine[0]
    assert "hello" in text_of_stream(fine[2])


def test_a_failing_rule_is_explained(crowd: Place) -> None:
    """The explanation shows the rule that failed, with the reason, and the one that decided after it."""
    done = crowd.ccr("explain", "--json", input=json.dumps({"model": "big", **HELLO}))

    assert [("failing", "failed"), ("size", "passed"), ("explicit", "passed"), ("default", "decided")] == [
        (answer["rule"], answer["state"]) for answer in json.loads(done.stdout)["rules"]
    ]
    assert json.loads(done.stdout)["tokens"] > 0
    assert "KeyError: 'the rule failed'" == json.loads(done.stdout)["rules"][0]["why"]


def test_what_is_missing_is_traced_to_the_plugin_that_failed(crowd: Place) -> None:
    """A configuration that needs something of a broken plugin does not start, and says why, at its place."""
    wanting = crowd.folder / "wanting.toml"
    wanting.write_text('[[Providers]]\nname = "echo"\nmodels = ["echo"]\ntransformer = { use = ["at-import"] }\n')

    done = crowd.ccr("config", "check", "--config", str(wanting))

    assert 1 == done.returncode
    assert 'Providers[0].transformer.use[0]   no transformer "at-import"' in done.stderr
    assert "plugin third-at-import 2.5 failed: RuntimeError: no such luck" in done.stderr


def test_a_broken_plugin_can_be_left_out(crowd: Place) -> None:
    """``CCR_PLUGINS`` and ``disabled_plugins`` keep a plugin from being imported at all."""
    environ = {**crowd.environ, "CCR_PLUGINS": "echo,third-failing"}
    words = [str(crowd.python), "-m", "ccr_core.cli", "plugins", "list", "--json"]

    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=SECONDS, check=True)
    states = {plugin["name"]: plugin["state"] for plugin in json.loads(done.stdout)["plugins"]}

    assert {"echo", "failing"} == {name for name, state in states.items() if state == "active"}
    assert {"disabled"} == {states[name] for name in BROKEN}
