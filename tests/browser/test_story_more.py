"""Signing in to a vendor, installing a preset from a zip file, and what plugins of others add to the pages."""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from people import Home, example
from scripted import Upstream

pytestmark = pytest.mark.browser

PLUGINS = Path(__file__).parents[2] / "plugins"


def story_of(plugin: str) -> Any:
    """The module with the stand-in vendor of a sign-in plugin's own tests."""
    path = PLUGINS / plugin / "tests" / "test_story.py"
    spec = importlib.util.spec_from_file_location(f"story_of_{plugin.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def zipped(**files: str) -> bytes:
    """A zip file in memory."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_json", ".json"), text)
    return data.getvalue()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_device_code(home: Home, person: Any, scheme: str, width: int) -> None:
    """A code to be typed at the vendor's; the account appears, its token nowhere."""
    with story_of("ccr-plugin-oauth-copilot").GitHub() as vendor:
        vendor.pending = 2
        home.write(
            {
                "PORT": home.port,
                "Providers": [{"name": "echo"}],
                "oauth": {"copilot": {**vendor.options(), "allow_custom_host": True}},
            }
        )
        home.start()
        somebody = person(scheme=scheme, width=width)
        page = somebody.go("signin")
        page.click("[data-provider=copilot] button:text('Sign in')")
        page.wait_for_selector(".user-code, dialog .notice.ok")
        somebody.picture("sign-in-code")
        assert [] == somebody.faults()
        page.wait_for_selector("dialog .notice.ok")
        page.click("dialog button:text-is('Close')")
        page.wait_for_selector("[data-provider=copilot] .facts-list")
        somebody.picture("signed-in")

        assert "me@example.com" in page.inner_text("[data-provider=copilot]")
        page.click("[data-provider=copilot] button:text-is('Models')")
        page.wait_for_selector("[data-provider=copilot] .chip:has-text('Claude Opus')")
        assert [] == [secret for secret in vendor.secrets if secret in page.content()]
        page.click("[data-provider=copilot] button:text-is('Sign out')")
        page.click("dialog button:text-is('Sign out')")
        page.wait_for_selector("[data-provider=copilot] .facts-list", state="detached")


@pytest.mark.parametrize("way", ["browser", "paste"])
def test_browser(home: Home, person: Any, way: str) -> None:
    """The vendor's page leads back by itself, or its address is pasted."""
    with story_of("ccr-plugin-oauth-codex").OpenAI() as vendor:
        home.write({"PORT": home.port, "Providers": [{"name": "echo"}], "oauth": {"codex": vendor.options()}})
        home.start()
        somebody = person()
        page = somebody.go("signin")
        page.click("[data-provider=codex] button:text-is('Sign in')")
        page.wait_for_selector("dialog a.button")
        somebody.picture("sign-in-browser")
        back = vendor.agree(page.get_attribute("dialog a.button", "href"))
        if way == "browser":
            other = somebody.context.new_page()
            other.goto(back)
            page.bring_to_front()
        else:
            page.click("dialog summary")
            page.fill("dialog input", back)
            page.click("dialog button:text-is('Send')")
        page.wait_for_selector("dialog .notice.ok")
        page.click("dialog button:text-is('Close')")
        page.wait_for_selector("[data-provider=codex] .facts-list")


def test_risk_is_read_first(home: Home, person: Any) -> None:
    """Where the vendor is against it, nothing begins before that was read and agreed to."""
    home.write({"PORT": home.port, "Providers": [{"name": "echo"}]})
    home.start()
    somebody = person()
    page = somebody.go("signin")
    page.click("[data-provider=antigravity] button:text-is('Sign in')")
    page.wait_for_selector("dialog")
    assert page.is_disabled("dialog button.primary")
    page.check("dialog input[type=checkbox]")
    assert page.is_enabled("dialog button.primary")
    page.click("dialog button:text-is('Cancel')")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_preset(home: Home, person: Any, tmp_path: Path, scheme: str, width: int) -> None:
    """A preset from a zip file: what it would do is shown and agreed to, its questions are asked, then it answers."""
    with Upstream([]) as upstream:
        manifest = {
            "name": "two-models",
            "version": "1.0.0",
            "description": "Two models.",
            "schema": [
                {"id": "vendor", "type": "select", "label": "Vendor", "options": {"type": "providers"}},
                {"id": "key", "type": "password", "label": "API key"},
                {"id": "more", "type": "confirm", "label": "More?", "required": False},
                {"id": "limit", "type": "number", "when": {"field": "more", "value": True}, "required": False},
            ],
            "Providers": [
                {
                    "name": "alpha",
                    "api_base_url": f"{upstream.url}/v1/chat/completions",
                    "api_key": "#{key}",
                    "models": ["a1"],
                }
            ],
            "Router": {"default": "#{vendor},a1"},
        }
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        path = tmp_path / "two-models.zip"
        path.write_bytes(zipped(manifest_json=json.dumps(manifest)))
        somebody = person(scheme=scheme, width=width)
        page = somebody.go("presets/add")
        page.set_input_files("input[type=file]", path)
        page.click("form:has(input[type=file]) button:text('Look at it')")
        page.wait_for_selector("dialog")
        assert 0 == page.locator("dialog [data-question=limit]").count()
        page.select_option("dialog [data-question=more]", "true")
        page.fill("dialog [data-question=limit]", "5")
        page.select_option("dialog [data-question=vendor]", "alpha")
        page.fill("dialog [data-question=key]", "sk-of-the-preset-0123456789")
        for box in page.query_selector_all("dialog .dangers input"):
            box.check()
        somebody.picture("preset-install")
        assert [] == somebody.faults()
        page.click("dialog button[type=submit]")
        page.wait_for_selector("h1:text-is('two-models')")
        somebody.picture("preset")

        assert "sk-of-the-preset" not in page.content()
        kept = json.loads((home.ccr / "presets" / "two-models" / "manifest.json").read_text())["userValues"]
        assert {"vendor": "alpha", "key": "sk-of-the-preset-0123456789", "more": True, "limit": 5} == kept
        page.select_option("[data-question=more]", "false")
        page.click("button:text-is('Apply')")
        page.wait_for_selector(".toast:has-text('Saved')")
        kept = json.loads((home.ccr / "presets" / "two-models" / "manifest.json").read_text())["userValues"]
        assert {"vendor": "alpha", "key": "sk-of-the-preset-0123456789", "more": False} == kept


THIRD_PARTY = '''
"""A plugin of somebody else: a page, and a transformer with options."""
from pathlib import Path
from typing import Literal

import attrs

from ccr_core import PageSpec, Transformer, TransformerSpec, hookimpl


@attrs.frozen
class Options:
    """``words``: what to leave out; ``mode``: how; ``rate``: how often; ``loud``: whether to say so."""

    words: tuple[str, ...]
    mode: Literal["drop", "mask"] = "mask"
    rate: float = 0.5
    loud: bool = False


class Quiet(Transformer[Options]):
    """Leaves words out."""


@hookimpl
def ccr_transformers():
    yield TransformerSpec(name="quiet", factory=Quiet, options=Options, summary="Leave words out.")


@hookimpl
def ccr_pages():
    yield PageSpec(name="weather", title="Weather", files=str(Path(__file__).parent / "weather"), summary="Outside.")
'''

PAGE = """
export default async (element, { api, t, signal }) => {
  const { plugins } = await api.get('/api/plugins', { signal })
  const text = document.createElement('p')
  text.textContent = `${t('nav.plugins')}: ${plugins.length}, and the sun shines`
  element.append(text)
  signal.addEventListener('abort', () => { document.body.dataset.weather = 'gone' })
}
"""


def test_third_party(home: Home, person: Any, tmp_path: Path) -> None:
    """The page of somebody else's plugin is in the menu; its transformer has a form made from its options."""
    site = tmp_path / "site"
    (site / "weather").mkdir(parents=True)
    (site / "weather" / "index.js").write_text(PAGE)
    (site / "quiet_plugin.py").write_text(THIRD_PARTY)
    about = site / "quiet_plugin-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: quiet-plugin\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[ccr]\nquiet = quiet_plugin\n")
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k", PYTHONPATH=str(site))
        somebody = person()
        page = somebody.page
        page.click("nav a:has-text('Weather')")
        page.wait_for_selector("p:has-text('and the sun shines')")
        somebody.picture("third-party")
        assert "Weather" == somebody.heading()

        somebody.go("transformers/spare")
        assert "gone" == page.evaluate("document.body.dataset.weather")
        page.fill("details[open] input[aria-label='Add a step: All models']", "quiet")
        page.click("details[open] button[aria-label='Add: All models']")
        page.fill(".field[data-path$='.words'] textarea", "one\ntwo")
        page.select_option(".field[data-path$='.mode'] select", "drop")
        page.fill(".field[data-path$='.rate'] input", "0.25")
        page.select_option(".field[data-path$='.loud'] select", "true")
        somebody.picture("third-party-form")
        somebody.save()

        options = {"words": ["one", "two"], "mode": "drop", "rate": 0.25, "loud": True}
        assert {"use": [["quiet", options]]} == home.data()["Providers"][1]["transformer"]


def test_again_on_another_model(home: Home, person: Any) -> None:
    """A request that was kept is sent to two models again and compared with what it was."""
    from scripted import Say

    with Upstream(lambda request: Say(text=f"I am {request.model}.")) as upstream:
        home.write(dict(example(upstream.url, observers={"history": {"bodies": True}})))
        home.start(SPARE_KEY="k")
        home.message("Who are you?")
        somebody = person()
        page = somebody.go("requests")
        page.wait_for_selector("tbody tr[data-state=done] a")
        page.click("tbody tr[data-state=done] a")
        page.click("a:text('Run again')")
        page.wait_for_selector("textarea")
        page.fill(".field:has-text('Model 1') input", "up,m2")
        page.fill(".field:has-text('Model 2') input", "spare,s")
        page.keyboard.press("Escape")
        page.click("button:text-is('Run')")
        page.wait_for_selector(".compare .card:nth-child(3) .answer:has-text('I am s.')")
        page.wait_for_selector(".compare .card:nth-child(2) .answer:has-text('I am m2.')")
        somebody.picture("compare")

        assert "I am m1." in page.inner_text(".compare .card:nth-child(1)")
        assert ["m1", "m2", "s"] == sorted(request.model for request in upstream.requests)
