"""What saving leaves alone, and what happens when two people save."""

from __future__ import annotations

import re
from typing import Any

import pyjson5
import pytest
from people import Home, example
from scripted import Upstream

pytestmark = pytest.mark.browser

SEED = """\
// The configuration of a person who has had it for years.
{
  "APIKEY": "your-secret-key", // keep it
  "LOG": true,
  "API_TIMEOUT_MS": 600000,
  "OLD_THING": {"kept": ["as", "it", "is"]},
  /* subscriptions and keys */
  "Providers": [
    {
      "name": "codex",
      "api_base_url": "https://chatgpt.com/backend-api/codex/responses",
      "auth_type": "oauth",
      "oauth_provider": "codex",
      "models": ["gpt-5.3-codex", "gpt-5.2-codex", "gpt-5.1-codex-mini"],
      "transformer": { "use": ["openai-responses"] }
    },
    // the key is in the environment
    {
      "name": "openrouter",
      "api_base_url": "https://openrouter.ai/api/v1/chat/completions",
      "api_key": "$OPENROUTER_API_KEY",
      "models": ["anthropic/claude-sonnet-4"],
      "transformer": { "use": ["openrouter", ["maxtoken", {"max_tokens": 16384}]] }
    },
    {
      'name': 'plain',
      "api_base_url": "https://plain.example/v1/chat/completions",
      "api_key": "sk-plain-0123456789abcdef", // a real one
      "models": ["m"],
    },
  ],
  "Router": {
    "default": "codex,gpt-5.3-codex",
    "background": "openrouter,anthropic/claude-sonnet-4", // cheap
    "longContextThreshold": 60000,
  },
  "StatusLine": {
    "enabled": true, // always
    "default": { "modules": [{ "type": "model", "text": "{{model}}", "color": "bright_cyan" }] }
  },
}
"""


def test_round_trip(home: Home, person: Any) -> None:
    """Each page changes one thing of an old file and saves; every comment, unknown key, reference and secret stays."""
    home.write(SEED)
    home.start(OPENROUTER_API_KEY="k")
    somebody = person()
    page = somebody.page

    somebody.go("providers/openrouter")
    page.fill(".field[data-path$='.models'] input", "z-ai/glm-4.6")
    page.press(".field[data-path$='.models'] input", "Enter")
    somebody.save()
    somebody.go("routing")
    page.fill("input[data-key=think]", "openrouter,z-ai/glm-4.6")
    somebody.save()
    somebody.go("transformers/openrouter")
    page.click("details[data-step=maxtoken] summary")
    page.fill(".field[data-path$='.max_tokens'] input", "8192")
    somebody.save()
    somebody.go("statusline")
    page.click("summary:has-text('{{model}}')")
    page.fill(".field[data-path$='.icon'] input", "~")
    somebody.save()
    somebody.go("settings")
    page.fill("input[data-key='limits.idle_s']", "120")
    somebody.save()
    somebody.go("raw")
    text = page.input_value(".editor textarea")
    assert "sk-plain" not in text
    assert "your-secret-key" not in text
    page.fill(".editor textarea", text.replace("// cheap", "// cheaper"))
    somebody.save()

    now = home.config.read_text()
    expected = pyjson5.decode(SEED)
    expected["Providers"][1]["models"].append("z-ai/glm-4.6")
    expected["Providers"][1]["transformer"]["use"][1][1]["max_tokens"] = 8192
    expected["Router"]["think"] = "openrouter,z-ai/glm-4.6"
    expected["StatusLine"]["default"]["modules"][0]["icon"] = "~"
    expected["limits"] = {"idle_s": 120}
    assert expected == pyjson5.decode(now)
    remarks = re.compile(r"//.*|/\*.*?\*/")
    assert [each.replace("cheap", "cheaper") for each in remarks.findall(re.sub(r"https?://", "", SEED))] == (
        remarks.findall(re.sub(r"https?://", "", now))
    )
    # As text: a line of the old file that does not hold one of the five changes is in the new one, as it was.
    changed = ("anthropic/claude-sonnet-4", "maxtoken", "longContextThreshold", "{{model}}")
    lines = now.splitlines()
    assert [] == [each for each in SEED.splitlines() if each not in lines and not any(word in each for word in changed)]


def test_two_browsers(home: Home, person: Any) -> None:
    """The second to save is told what the first has changed; nothing of either is lost."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        first, second = person(), person()
        second.expects("409")
        first.go("routing")
        second.go("routing")
        first.page.fill("input[data-key=background]", "up,m2")
        first.save()
        second.page.fill("input[data-key=webSearch]", "up,m1")
        second.page.click("button:text-is('Save')")
        second.page.wait_for_selector("dialog")
        told = second.page.inner_text("dialog")
        second.picture("two-browsers")
        faults = second.faults()
        second.page.click("button:text('Apply mine')")
        second.page.wait_for_selector(".toast:has-text('Saved')")

        assert "Router.background" in told
        assert "Router.webSearch" in told
        assert [] == faults
        assert ("up,m2", "up,m1") == (home.data()["Router"]["background"], home.data()["Router"]["webSearch"])


def test_lists_that_moved(home: Home, person: Any) -> None:
    """A change inside a list follows its entry to where somebody else has put it."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        first, second = person(), person()
        second.expects("409")
        second.go("transformers/up")
        first.go("providers")
        first.page.click("[data-provider=up] button[aria-label='Move up down']")
        first.page.wait_for_selector(".toast:has-text('Saved')")
        second.page.click("details[data-step=maxtoken] summary")
        second.page.fill(".field[data-path$='.max_tokens'] input", "99")
        second.page.click("button:text-is('Save')")
        second.page.click("button:text('Apply mine')")
        second.page.wait_for_selector(".toast:has-text('Saved')")

        spare, up = home.data()["Providers"]
        assert ("spare", None) == (spare["name"], spare.get("transformer"))
        assert [["maxtoken", {"max_tokens": 99}]] == up["transformer"]["use"]


def test_two_in_one_entry(home: Home, person: Any) -> None:
    """The same for the entry of a provider: both changes are in the file."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        first, second = person(), person()
        second.expects("409")
        first.go("providers/up")
        second.go("providers/up")
        for somebody, name in ((first, "m3"), (second, "renamed")):
            field = "models" if somebody is first else "name"
            somebody.page.fill(f".field[data-path$='.{field}'] input", name)
        first.page.press(".field[data-path$='.models'] input", "Enter")
        first.save()
        second.page.click("button:text-is('Save')")
        second.page.wait_for_selector("dialog:has-text('Providers[0].models')")
        second.page.click("button:text('Apply mine')")
        second.page.wait_for_selector("h1:text-is('renamed')")

        entry = home.data()["Providers"][0]
        assert ("renamed", ["m1", "m2", "m3"]) == (entry["name"], entry["models"])
        assert "sk-secret-of-the-test-0123456789" == entry["api_key"]
        assert "renamed,m1" == home.data()["Router"]["default"]


def test_two_in_the_file(home: Home, person: Any) -> None:
    """Somebody who edits the text is shown the other's text beside it, and keeps what was typed."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        somebody = person()
        somebody.expects("409")
        page = somebody.go("raw")
        mine = page.input_value(".editor textarea").replace("50000", "70000")
        page.fill(".editor textarea", mine)
        changed = home.data()
        changed["limits"] = {"idle_s": 77}
        home.write(changed)
        page.click("button:text-is('Save')")
        page.wait_for_selector("dialog textarea")
        assert [
            '"idle_s": 77' in text
            for text in page.eval_on_selector_all("dialog textarea", "all => all.map(a => a.value)")
        ] == [
            True,
            False,
        ]
        page.click("dialog button:text('Edit mine further')")
        assert mine == page.input_value(".editor textarea")
        assert 77 == home.data()["limits"]["idle_s"]


def test_a_key_goes_to_no_new_host_unasked(home: Home, person: Any) -> None:
    """Another address beside a key that stays: the person is asked, and "no" changes nothing."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        somebody = person()
        somebody.expects("400")
        page = somebody.go("providers/up")
        before = home.config.read_bytes()
        page.fill(".field[data-path$='.api_base_url'] input", "https://elsewhere.example/v1/chat/completions")
        assert "elsewhere.example" in page.inner_text(".key-box")
        page.click("button:text-is('Save')")
        page.wait_for_selector("dialog:has-text('elsewhere.example')")
        page.click("dialog button:text-is('Cancel')")
        page.wait_for_selector(".field.bad")
        assert before == home.config.read_bytes()
        page.click("button:text-is('Save')")
        page.click("dialog button:text('Send it there')")
        page.wait_for_selector(".toast:has-text('Saved')")
        assert "https://elsewhere.example/v1/chat/completions" == home.data()["Providers"][0]["api_base_url"]


def test_leaving_asks(home: Home, person: Any) -> None:
    """Unsaved changes are not left behind without a question, and are still there after "no"."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        somebody = person()
        page = somebody.go("routing")
        page.fill("input[data-key=think]", "up,m1")
        page.click("nav a:has-text('Plugins')")
        page.wait_for_selector("dialog:has-text('Leave without saving?')")
        page.click("dialog button:text('Cancel')")
        assert ("Routing", "up,m1") == (somebody.heading(), page.input_value("input[data-key=think]"))
        page.click("nav a:has-text('Plugins')")
        page.click("dialog button:text('Leave')")
        page.wait_for_selector("h1:text('Plugins')")


def test_errors_stand_at_their_fields(home: Home, person: Any) -> None:
    """What the server refuses is marked where it was entered, and nothing is written."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        before = home.config.read_bytes()
        somebody = person()
        somebody.expects("400")
        page = somebody.go("settings")
        page.fill("input[data-key='limits.idle_s']", "-5")
        page.fill("input[data-key=API_TIMEOUT_MS]", "soon")
        page.click("button:text-is('Save')")
        page.wait_for_selector(".field.bad")
        somebody.picture("errors")

        assert ["API_TIMEOUT_MS", "limits.idle_s"] == sorted(
            page.eval_on_selector_all(".field.bad", "all => all.map(each => each.dataset.path)")
        )
        assert before == home.config.read_bytes()
        assert [] == somebody.faults()


def test_a_broken_file_is_not_an_empty_one(home: Home, person: Any) -> None:
    """Where the file cannot be read, pages say so, and none offers to save something else over it."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        somebody = person()
        home.config.write_text("{ this is no configuration")
        for place in ("routing", "settings", "transformers", "statusline"):
            page = somebody.go(place)
            assert "cannot be read" in page.inner_text("main")
            assert 0 == page.locator("main input").count()
        page = somebody.go("raw")
        page.wait_for_selector(".gutter .bad")
        assert "{ this is no configuration" == page.input_value(".editor textarea")
