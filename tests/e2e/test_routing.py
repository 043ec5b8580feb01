"""Real Claude Code through a router with every route set: which model each kind of request goes to.

Every scenario has a model of its own, so the model that a request reached tells the rule that chose it.  The newer
client sends hint headers here, as after `ccr code`; the older one knows none.  One router serves all tests of a
client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from install_clients import LABELS, folder, installed, missing
from rig import Rig, Run
from scripted import Call, Received, Reply, Say, Upstream
from test_claude_code import WithExpert, png

pytestmark = pytest.mark.e2e

HINTS = {"CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"}
MODELS = ("default", "background", "think", "long", "web", "image", "explore", "agents", "named")
ROUTER = {
    "default": "up,default",
    "background": "up,background",
    "think": "up,think",
    "longContext": "up,long",
    "longContextThreshold": 60_000,
    "webSearch": "up,web",
    "image": "up,image",
    "agentTypes": {"Explore": "up,explore", "*": "up,agents"},
}


class Routed(Rig):
    """A rig whose router has a route for everything."""

    def write_config(self) -> None:
        """The provider `up` with a model for each scenario."""
        super().write_config()
        path = self.ccr_home / "config.json"
        config = json.loads(path.read_text())
        config["Providers"][0]["models"] = list(MODELS)
        path.write_text(json.dumps({**config, "Router": ROUTER}, indent=1))

    @property
    def models(self) -> list[str]:
        """The models that were asked since the test began, in order."""
        return [request.model for request in self.upstream.requests]

    @property
    def hints(self) -> bool:
        """Whether the client can say what its requests are."""
        return self.client.label == "newest"

    def ask(self, prompt: str, *extra: str, model: str = "sonnet", mode: str = "bypassPermissions", **env: str) -> Run:
        """Run the client on one prompt, with hint headers where it knows them."""
        return self.claude(prompt, *extra, model=model, mode=mode, env={**HINTS, **env})


@pytest.fixture(scope="module", params=LABELS)
def router(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    """A router for all tests of a client."""
    why = missing()
    if why:
        pytest.fail(f"{why} (or leave the end-to-end tests out: -m 'not e2e')", pytrace=False)
    client = installed(folder())[request.param]
    with Upstream() as upstream:
        routed = Routed(client, tmp_path_factory.mktemp("routing"), upstream, "chat")
        try:
            routed.start_router()
            yield routed
        finally:
            routed.close()


@pytest.fixture
def rig(router: Routed, request: pytest.FixtureRequest) -> Iterator[Routed]:
    """The router with a project folder and a record of its own for the test."""
    if not router.routed:
        pytest.fail("without a router there is nothing to route: leave CCR_E2E_DIRECT unset", pytrace=False)
    router.project = router.project.parent / re.sub(r"\W+", "-", request.node.name)
    router.project.mkdir()
    router.upstream.requests.clear()
    yield router
    assert router.upstream.problems == []


def test_main_requests(rig: Routed) -> None:
    """An ordinary conversation goes to the default model, although the client allows thinking in all of it."""
    rig.play([Say(calls=[Call(name="Bash", arguments={"command": "echo hi"})]), Say(text="done")])
    assert rig.ask("Do it.").answer == "done"
    assert rig.models == ["default", "default"]


def test_named_model(rig: Routed) -> None:
    """`--model provider,model` beats the routes, in plan mode too."""
    rig.play([Say(text="named speaks")])
    assert rig.ask("Who are you?", model="up,named", mode="plan").answer == "named speaks"
    assert rig.models == ["named"]


def test_plan_mode(rig: Routed) -> None:
    """In plan mode the thinking model is asked, from turn to turn; after it the default model again."""
    rig.play([Say(calls=[Call(name="Bash", arguments={"command": "ls"})]), Say(text="The plan."), Say(text="Done.")])
    assert rig.ask("Plan it.", mode="plan").answer == "The plan."
    assert rig.ask("Do it.", "--continue").answer == "Done."
    assert rig.models == ["think", "think", "default"]


@pytest.mark.parametrize(("words", "expected"), [(["--effort", "max"], "think"), (["--effort", "low"], "default")])
def test_effort(rig: Routed, words: list[str], expected: str) -> None:
    """A great effort is for the thinking model."""
    rig.play([Say(text="done")])
    assert rig.ask("Do it.", *words).answer == "done"
    assert rig.models == [expected]


def test_web_search(rig: Routed) -> None:
    """The request that the tool WebSearch sends goes to the model that can search; the conversation stays."""

    def script(request: Received) -> Reply:
        if "web search" in request.text and "Find out" not in request.text:
            return Say(text="It is 324 metres high.")
        if not request.calls:
            return Say(calls=[Call(name="WebSearch", arguments={"query": "height of the tower"})])
        return Say(text="found")

    rig.play(script)
    assert rig.ask("Find out the height.").answer == "found"
    assert rig.models == ["default", "web", "default"]
    assert "324 metres" in next(iter(rig.upstream.requests[2].results.values()))


def test_haiku(rig: Routed) -> None:
    """`--model haiku` is the background model."""
    rig.play([Say(text="small talk")])
    assert rig.ask("Talk.", model="haiku").answer == "small talk"
    assert rig.models == ["background"]


@pytest.mark.parametrize(("small", "expected"), [("", "background"), ("up,named", "named")])
def test_helper_calls(rig: Routed, small: str, expected: str) -> None:
    """A helper call goes to the background model though it bears the main model's name, or to the one that is set."""
    hook = {"type": "prompt", "prompt": "Is this a question? $ARGUMENTS"}
    (rig.project / ".claude").mkdir()
    settings = {"hooks": {"UserPromptSubmit": [{"hooks": [hook]}]}}
    (rig.project / ".claude" / "settings.json").write_text(json.dumps(settings))
    rig.play(lambda request: Say(text="yes" if request.tools else '{"ok": true}'))
    more = {"ANTHROPIC_DEFAULT_HAIKU_MODEL": small} if small else {}
    assert rig.ask("Is it?", **more).answer == "yes"
    assert rig.models == [expected, "default"]


def test_long_prompt(rig: Routed) -> None:
    """A prompt of some 70 000 tokens goes to the model for long ones."""
    words = " ".join(f"Line {number} of the report says nothing new." for number in range(7_000))
    (rig.project / "prompt.txt").write_text(f"{words}\nSum it up.")
    rig.play([Say(text="Nothing new.")])
    _, _, *arguments = rig.arguments("")
    command = [rig.client.program, "-p", *arguments]
    shell = ["/bin/sh", "-c", 'exec "$0" "$@" < prompt.txt', *map(str, command)]
    run = rig.finish(rig.start(shell, rig.claude_env(HINTS)))
    assert run.answer == "Nothing new."
    assert rig.models == ["long"]


def test_image(rig: Routed) -> None:
    """A picture that was read goes to the model that can see; the next turn goes to the default model again."""
    (rig.project / "red.png").write_bytes(png(24, 16))
    read = Call(name="Read", arguments={"file_path": str(rig.project / "red.png")})
    rig.play([Say(calls=[read]), Say(text="It is red."), Say(text="As I said.")])
    assert rig.ask("What is in red.png?").answer == "It is red."
    assert rig.ask("Sure?", "--continue").answer == "As I said."
    assert rig.models == ["default", "image", "default"]


def test_sub_agents(rig: Routed) -> None:
    """Explore has the model of its kind where the client tells it; the older client starts it as a haiku."""
    script = WithExpert(kind="Explore")
    rig.play(script)
    assert rig.ask("Ask the expert.").answer == "The expert says: It is 324 metres."
    [theirs] = script.theirs
    assert theirs.model == ("explore" if rig.hints else "background")
    assert {request.model for request in rig.upstream.requests if request is not theirs} == {"default"}


def test_other_sub_agents(rig: Routed) -> None:
    """Any other sub-agent has the route of the others, with and without hints."""
    script = WithExpert(kind="general-purpose")
    rig.play(script)
    assert rig.ask("Ask the expert.").answer == "The expert says: It is 324 metres."
    assert [request.model for request in script.theirs] == ["agents"]
