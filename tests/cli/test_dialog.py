"""`ccr model` on a terminal: the dialog, driven through a pseudo-terminal by its keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from terminals import CTRL_C, DOWN, ENTER, ESCAPE, Terminal


@pytest.fixture
def terminal(ccr: Any) -> Iterator[Terminal]:
    """The dialog, with a configuration of two models."""
    up = {"name": "up", "api_base_url": "http://127.0.0.1:1/v1/messages", "api_key": "k", "models": ["m", "other"]}
    ccr.write_config({"Providers": [up, {"name": "echo", "models": ["echo"]}], "Router": {"default": "up,m"}})
    with ccr.terminal("model", env={"NO_COLOR": "1"}) as running:
        running.until("default  up,m")
        running.until("What now?")
        yield running


def written(ccr: Any) -> dict[str, Any]:
    """The configuration as it is now."""
    return dict(json.loads((ccr.folder / "config.json").read_text()))


def test_set_a_route(ccr: Any, terminal: Terminal) -> None:
    """A route is chosen, a model is found by typing a part of its name, with a level; the new state is shown."""
    terminal.press(ENTER)
    terminal.until("Which route?")
    terminal.press(*"think", ENTER)
    terminal.until("Which model for think?")
    terminal.press(*"othe", ENTER)
    terminal.until("Which level of reasoning?")
    terminal.press(*[DOWN] * 5, ENTER)
    terminal.until("think is up,other,high")
    terminal.until("What now?")
    assert "up,other,high" == written(ccr)["Router"]["think"]
    terminal.press(CTRL_C)
    assert 0 == terminal.wait()


def test_going_back_changes_nothing(ccr: Any, terminal: Terminal) -> None:
    """Ctrl-C leads to the menu, and from there to the shell; nothing is written."""
    before = (ccr.folder / "config.json").read_bytes()
    terminal.press(ENTER)
    terminal.until("Which route?")
    terminal.press(CTRL_C)
    terminal.until("What now?")
    terminal.press(CTRL_C)
    assert 0 == terminal.wait()
    assert before == (ccr.folder / "config.json").read_bytes()


def test_add_a_model(ccr: Any, terminal: Terminal) -> None:
    """A model is added; a name that is taken is refused where it is typed."""
    terminal.press(DOWN, ENTER)
    terminal.until("To which provider?")
    terminal.press(ENTER)
    terminal.until("What is the model called?")
    terminal.press("m", ENTER)
    terminal.until("up has the model m already")
    terminal.press("2", ENTER)
    terminal.until("Shall a route lead to up,m2?")
    terminal.press("n")
    terminal.until("What now?")
    assert ["m", "other", "m2"] == written(ccr)["Providers"][0]["models"]


def test_add_a_provider_from_a_preset(ccr: Any, terminal: Terminal) -> None:
    """A service is found by typing; its key is a reference to the usual variable; a route may lead to it at once."""
    terminal.press(DOWN, DOWN, ENTER)
    terminal.until("Which service?")
    terminal.press(*"deepseek", ENTER)
    terminal.until("Where is its key?")
    terminal.until("DEEPSEEK_API_KEY")
    terminal.press(ENTER)
    terminal.until("Which models shall be listed?")
    terminal.press(ENTER)
    terminal.until("Shall a route lead to deepseek,")
    terminal.press("y")
    terminal.until("Which route?")
    terminal.press(*"background", ENTER)
    terminal.until("background is deepseek,")
    terminal.until("whether it works?")
    terminal.press("n")
    terminal.until("What now?")
    added = written(ccr)["Providers"][2]
    assert ("deepseek", "$DEEPSEEK_API_KEY") == (added["name"], added["api_key"])
    assert f"deepseek,{added['models'][0]}" == written(ccr)["Router"]["background"]


def test_add_a_provider_by_its_address(ccr: Any, terminal: Terminal) -> None:
    """Any service can be added: name, address, key and models are asked for; the key that is typed is not shown."""
    terminal.press(DOWN, DOWN, ENTER)
    terminal.until("Which service?")
    terminal.press(ENTER)
    terminal.until("What shall it be called?")
    terminal.press(*"up", ENTER)
    terminal.until("there is a provider up already")
    terminal.press(*"per", ENTER)
    terminal.until("What is the address of its API?")
    terminal.press(*"nowhere", ENTER)
    terminal.until("https://")
    terminal.press(*["\x7f"] * 7, *"http://127.0.0.1:1/v1/chat/completions", ENTER)
    terminal.until("Where is its key?")
    terminal.press(DOWN, ENTER)
    terminal.until("The key:")
    terminal.press(*"sk-typed", ENTER)
    terminal.until("Which models?")
    terminal.press(*"one, two", ENTER)
    terminal.until("Shall a route lead to upper,one?")
    terminal.press("n")
    terminal.until("whether it works?")
    terminal.press("y")
    terminal.until("upper,one fails")
    terminal.until("What now?")
    expected = {
        "name": "upper",
        "api_base_url": "http://127.0.0.1:1/v1/chat/completions",
        "api_key": "sk-typed",
        "models": ["one", "two"],
    }
    assert expected == written(ccr)["Providers"][2]
    assert "sk-typed" not in terminal.output


def test_add_an_account(ccr: Any, terminal: Terminal) -> None:
    """A provider with a sign-in needs no key: what is to be done next is said."""
    terminal.press(*[DOWN] * 3, ENTER)
    terminal.until("Whose account?")
    terminal.press(*"copilot", ENTER)
    terminal.until("What shall the provider be called?")
    terminal.press(ENTER)
    terminal.until("Which models shall be listed?")
    terminal.press(ENTER)
    terminal.until("To sign in: ccr auth login copilot")
    terminal.until("Shall a route lead to copilot,")
    terminal.press("n")
    terminal.until("What now?")
    added = written(ccr)["Providers"][2]
    assert ("copilot", "oauth", "copilot") == (added["name"], added["auth_type"], added["oauth_provider"])
    assert "api_key" not in added


def test_remove_a_route(ccr: Any, terminal: Terminal) -> None:
    """A route that is set can be taken away again."""
    for keys in ([*"othe", ENTER], [*"(no model", ENTER]):
        terminal.press(ENTER)
        terminal.until("Which route?")
        terminal.press(*"image", ENTER)
        terminal.until("Which model for image?")
        terminal.press(*keys)
        if keys[0] == "o":
            terminal.until("Which level of reasoning?")
            terminal.press(ENTER)
        terminal.until("What now?")
    assert {"default": "up,m"} == written(ccr)["Router"]


def test_try_a_provider(ccr: Any, terminal: Terminal) -> None:
    """A small request is sent, and the dialog says how it fared and goes on."""
    terminal.press(*[DOWN] * 4, ENTER)
    terminal.until("Which model?")
    terminal.press(*"echo", ENTER)
    terminal.until("echo,echo works")
    terminal.until("What now?")


# --- the questions of a preset ----------------------------------------------------------------------------------

ASKING = {
    "name": "asking",
    "schema": [
        {"id": "vendor", "type": "select", "label": "Vendor", "options": {"type": "providers"}},
        {
            "id": "model",
            "type": "select",
            "label": "Model",
            "options": {"type": "models", "providerField": "#{vendor}"},
            "dependsOn": ["vendor"],
        },
        {"id": "key", "type": "password", "label": "The key"},
        {"id": "more", "type": "confirm", "label": "More?"},
        {"id": "tries", "type": "number", "label": "Tries", "max": 9, "when": {"field": "more", "value": True}},
        {"id": "words", "type": "multiselect", "label": "Words", "options": ["a", "b"], "required": False},
        {"id": "long", "type": "editor", "label": "Text", "required": False},
        {"id": "note", "type": "input", "label": "Note", "placeholder": "anything", "required": False},
    ],
    "Providers": [
        {"name": "one", "api_base_url": "https://one.example/v1/messages", "api_key": "#{key}", "models": ["x"]},
        {"name": "two", "api_base_url": "https://two.example/v1/messages", "api_key": "#{key}", "models": ["y", "z"]},
    ],
    "Router": {"default": "#{vendor},#{model}"},
}


@pytest.fixture
def asking(ccr: Any) -> Iterator[Terminal]:
    """The installation of a preset that asks things of every kind."""
    ccr.write_config({})
    folder = ccr.root / "asking"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(ASKING))
    with ccr.terminal("preset", "install", str(folder), env={"NO_COLOR": "1"}) as running:
        yield running


def up_to_the_last(terminal: Terminal) -> None:
    """Answer all questions but the one whether to install it."""
    terminal.until("Vendor")
    terminal.press(DOWN, ENTER)
    terminal.until("Model")
    terminal.press(DOWN, ENTER)
    terminal.until("The key")
    terminal.press(*"sk-typed", ENTER)
    terminal.until("More?")
    terminal.press("y")
    terminal.until("Tries")
    terminal.press("\x7f", "1", "2", ENTER)
    terminal.until("Tries must be at most 9")
    terminal.press("\x7f", ENTER)
    terminal.until("Words")
    terminal.press(DOWN, " ", ENTER)
    terminal.until("Text")
    terminal.press(*"one", ENTER, *"two", ESCAPE, ENTER)  # more than one line: Escape and Enter end it
    terminal.until("Note")
    terminal.press(ENTER)


def test_questions_of_a_preset(ccr: Any, asking: Terminal) -> None:
    """Every kind of question is asked, a wrong answer is refused where it is typed, and new hosts are agreed to."""
    up_to_the_last(asking)
    shown = asking.until("Install it?")
    assert "sends requests, and the keys given for them, to two.example" in shown
    assert "sk-typed" not in shown
    asking.press("y", ENTER)
    asking.until("the preset asking is installed")
    assert 0 == asking.wait()
    kept = json.loads((ccr.folder / "presets" / "asking" / "manifest.json").read_text())["userValues"]
    expected = {"vendor": "two", "model": "z", "key": "sk-typed", "more": True, "tries": 1, "words": ["b"], "note": ""}
    assert {**expected, "long": "one\ntwo"} == kept


def test_no_is_no(ccr: Any, asking: Terminal) -> None:
    """Who does not agree has nothing installed, and nothing left behind."""
    up_to_the_last(asking)
    asking.until("Install it?")
    asking.press("n", ENTER)
    assert 130 == asking.wait()
    assert [] == list((ccr.folder / "presets").iterdir())
