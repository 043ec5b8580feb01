"""Which preset an entry means, and at which address: every form in which people write the URL of a service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccr_core import ConfigError, ProviderSpec
from ccr_core.config import from_document
from ccr_core.plugins import load
from ccr_core.runtime import Provider, build
from ccr_core.testing import Upstream, ask, entry_module
from ccr_core.testing.pytest_plugin import Make

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [
    entry_module(folder)
    for folder in sorted((Path(__file__).parents[1] / "plugins").iterdir())
    if (folder / "pyproject.toml").exists()
    and ("-provider-" in folder.name or folder.name.split("plugin-")[1] in ("anthropic", "gemini", "openai-chat"))
]
PLUGINS += [entry_module(Path(__file__).parents[1] / "plugins" / "ccr-plugin-openai-responses")]
PLUGINS += [entry_module(Path(__file__).parents[1] / "plugins" / "ccr-plugin-rule-default")]


def provider(**entry: Any) -> Provider:
    """The provider that becomes of an entry, with all presets of this project."""
    document = {"Providers": [{"name": "p", "api_key": "k", "models": ["m"], **entry}], "Router": {"default": "p,m"}}
    if "name" in entry:
        document["Router"] = {"default": f"{entry['name']},m"}
    return next(iter(build(from_document(document), load(PLUGINS)).providers.values()))


CHAT = "/chat/completions"
GEMINI = "https://generativelanguage.googleapis.com/v1beta"


@pytest.mark.parametrize(
    ("given", "preset", "url"),
    [
        # a whole endpoint, a base with its version, or the bare host
        (f"https://openrouter.ai/api/v1{CHAT}", "openrouter", f"https://openrouter.ai/api/v1{CHAT}"),
        ("https://openrouter.ai/api/v1", "openrouter", f"https://openrouter.ai/api/v1{CHAT}"),
        ("https://openrouter.ai/api/v1/", "openrouter", f"https://openrouter.ai/api/v1{CHAT}"),
        ("https://openrouter.ai", "openrouter", f"https://openrouter.ai/api/v1{CHAT}"),
        ("openrouter.ai", "openrouter", f"https://openrouter.ai/api/v1{CHAT}"),
        (f"https://api.deepseek.com{CHAT}", "deepseek", f"https://api.deepseek.com{CHAT}"),
        ("https://api.deepseek.com", "deepseek", f"https://api.deepseek.com{CHAT}"),
        ("https://api.deepseek.com/v1", "deepseek", f"https://api.deepseek.com/v1{CHAT}"),
        ("https://api.deepseek.com/beta", "deepseek", f"https://api.deepseek.com/beta{CHAT}"),
        ("https://api.groq.com", "groq", f"https://api.groq.com/openai/v1{CHAT}"),
        ("https://api.groq.com/openai/v1", "groq", f"https://api.groq.com/openai/v1{CHAT}"),
        ("https://api.mistral.ai", "mistral", f"https://api.mistral.ai/v1{CHAT}"),
        ("https://api.openai.com", "openai", f"https://api.openai.com/v1{CHAT}"),
        (
            "https://dashscope-intl.aliyuncs.com",
            "dashscope-intl",
            f"https://dashscope-intl.aliyuncs.com/compatible-mode/v1{CHAT}",
        ),
        (
            "https://ws1.eu-central-1.maas.aliyuncs.com/compatible-mode/v1",
            "dashscope",
            f"https://ws1.eu-central-1.maas.aliyuncs.com/compatible-mode/v1{CHAT}",
        ),
        (
            "https://ark.cn-beijing.volces.com/api/v3",
            "volcengine",
            f"https://ark.cn-beijing.volces.com/api/v3{CHAT}",
        ),
        (
            "https://ark.cn-beijing.volces.com/api/coding/v3",
            "volcengine-coding",
            f"https://ark.cn-beijing.volces.com/api/coding/v3{CHAT}",
        ),
        (
            "https://ark.ap-southeast.bytepluses.com/api/v3",
            "volcengine",
            f"https://ark.ap-southeast.bytepluses.com/api/v3{CHAT}",
        ),
        ("https://api.z.ai/api/paas/v4", "zai", f"https://api.z.ai/api/paas/v4{CHAT}"),
        ("https://api.z.ai/api/coding/paas/v4", "zai-coding", f"https://api.z.ai/api/coding/paas/v4{CHAT}"),
        ("https://api.siliconflow.cn/v1", "siliconflow", f"https://api.siliconflow.cn/v1{CHAT}"),
        ("https://api.siliconflow.com", "siliconflow-intl", f"https://api.siliconflow.com/v1{CHAT}"),
        ("https://api.moonshot.cn/v1", "moonshot-cn", f"https://api.moonshot.cn/v1{CHAT}"),
        ("https://api.kimi.com/coding/v1", "kimi-coding", f"https://api.kimi.com/coding/v1{CHAT}"),
        ("https://api.fireworks.ai/inference/v1", "fireworks", f"https://api.fireworks.ai/inference/v1{CHAT}"),
        ("https://us.api.fireworks.ai", "fireworks", f"https://us.api.fireworks.ai/inference/v1{CHAT}"),
        ("https://api.together.ai/v1", "together", f"https://api.together.ai/v1{CHAT}"),
        ("https://us.api.x.ai/v1", "xai", f"https://us.api.x.ai/v1{CHAT}"),
        ("https://mine.openai.azure.com", "azure", f"https://mine.openai.azure.com/openai/v1{CHAT}"),
        (
            "https://bedrock-mantle.eu-west-1.api.aws/openai/v1",
            "bedrock",
            f"https://bedrock-mantle.eu-west-1.api.aws/openai/v1{CHAT}",
        ),
        # what services tell people to put into ANTHROPIC_BASE_URL
        ("https://openrouter.ai/api", "openrouter-anthropic", "https://openrouter.ai/api/v1/messages"),
        ("https://openrouter.ai/api/v1/messages", "openrouter-anthropic", "https://openrouter.ai/api/v1/messages"),
        ("https://api.deepseek.com/anthropic", "deepseek-anthropic", "https://api.deepseek.com/anthropic/v1/messages"),
        ("https://api.moonshot.ai/anthropic/", "moonshot-anthropic", "https://api.moonshot.ai/anthropic/v1/messages"),
        (
            "https://api.moonshot.cn/anthropic/v1/messages",
            "moonshot-cn-anthropic",
            "https://api.moonshot.cn/anthropic/v1/messages",
        ),
        ("https://api.kimi.com/coding/", "kimi-coding-anthropic", "https://api.kimi.com/coding/v1/messages"),
        ("https://api.z.ai/api/anthropic", "zai-anthropic", "https://api.z.ai/api/anthropic/v1/messages"),
        ("https://api.minimax.io/anthropic", "minimax-anthropic", "https://api.minimax.io/anthropic/v1/messages"),
        (
            "https://dashscope.aliyuncs.com/apps/anthropic",
            "dashscope-anthropic",
            "https://dashscope.aliyuncs.com/apps/anthropic/v1/messages",
        ),
        (
            "https://ark.cn-beijing.volces.com/api/coding",
            "volcengine-coding-anthropic",
            "https://ark.cn-beijing.volces.com/api/coding/v1/messages",
        ),
        (
            "https://api.fireworks.ai/inference",
            "fireworks-anthropic",
            "https://api.fireworks.ai/inference/v1/messages",
        ),
        ("https://ai-gateway.vercel.sh/v1/messages", "vercel-anthropic", "https://ai-gateway.vercel.sh/v1/messages"),
        (
            "https://mine.services.ai.azure.com/anthropic",
            "azure-anthropic",
            "https://mine.services.ai.azure.com/anthropic/v1/messages",
        ),
        (
            "https://bedrock-mantle.eu-west-1.api.aws/anthropic",
            "bedrock-anthropic",
            "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1/messages",
        ),
        # servers of this machine and others are told apart by their ports
        (f"http://localhost:11434/v1{CHAT}", "ollama", f"http://localhost:11434/v1{CHAT}"),
        ("http://127.0.0.1:11434", "ollama", f"http://127.0.0.1:11434/v1{CHAT}"),
        ("localhost:11434", "ollama", f"http://localhost:11434/v1{CHAT}"),
        ("http://gpu-box.lan:11434/v1", "ollama", f"http://gpu-box.lan:11434/v1{CHAT}"),
        ("http://localhost:11434/v1/messages", "ollama-anthropic", "http://localhost:11434/v1/messages"),
        ("http://localhost:1234/v1", "lmstudio", f"http://localhost:1234/v1{CHAT}"),
        ("http://localhost:8080", "llamacpp", f"http://localhost:8080/v1{CHAT}"),
        ("http://localhost:8000/v1", "vllm", f"http://localhost:8000/v1{CHAT}"),
        ("http://localhost:9999/v1", None, f"http://localhost:9999/v1{CHAT}"),
        # other formats, and services that nobody knows
        ("https://generativelanguage.googleapis.com", "gemini", f"{GEMINI}/models/m:streamGenerateContent?alt=sse"),
        (f"{GEMINI}/models/", "gemini", f"{GEMINI}/models/m:streamGenerateContent?alt=sse"),
        (f"{GEMINI}/openai/", "gemini", f"{GEMINI}/openai{CHAT}"),
        (f"{GEMINI}/openai{CHAT}", "gemini", f"{GEMINI}/openai{CHAT}"),
        ("https://api.x.ai/v1/responses", "xai-responses", "https://api.x.ai/v1/responses"),
        ("https://aihubmix.com/v1", None, f"https://aihubmix.com/v1{CHAT}"),
        ("https://proxy.example/anthropic", None, "https://proxy.example/anthropic/v1/messages"),
        (f"https://gateway.example/x/openrouter.ai{CHAT}", None, f"https://gateway.example/x/openrouter.ai{CHAT}"),
    ],
)
async def test_urls(ccr: Make, upstream: Upstream, given: str, preset: str | None, url: str) -> None:
    """Each form leads to the preset of its format, and to the endpoint."""
    upstream.fail(400)
    entry = {"name": "p", "api_base_url": given, "api_key": "sk-test", "models": ["m"]}
    harness = ccr({"Providers": [entry], "Router": {"default": "p,m"}}, PLUGINS)

    await harness.messages(ask())

    spec = harness.runtime.providers["p"].spec
    assert (preset, [url]) == (spec.name if spec else None, [sent.url for sent in upstream.requests])


@pytest.mark.parametrize(
    ("entry", "preset", "url"),
    [
        ({"name": "deepseek", "dialect": "anthropic"}, "deepseek-anthropic", "https://api.deepseek.com/anthropic"),
        (
            {"name": "deepseek", "transformer": {"use": ["anthropic"]}},
            "deepseek-anthropic",
            "https://api.deepseek.com/anthropic",
        ),
        ({"name": "groq", "dialect": "anthropic"}, "groq", f"https://api.groq.com/openai/v1{CHAT}"),
        (
            {"api_base_url": "http://localhost:11434", "dialect": "anthropic"},
            "ollama-anthropic",
            "http://localhost:11434",
        ),
        ({"name": "DeepSeek"}, "deepseek", f"https://api.deepseek.com{CHAT}"),
        ({"name": "openai", "api_base_url": "https://my.gateway.example/v1"}, None, "https://my.gateway.example/v1"),
    ],
)
def test_the_format_that_is_wanted(entry: dict[str, Any], preset: str | None, url: str) -> None:
    """Naming a format chooses among the presets of a service; a name means nothing at another address."""
    made = provider(**entry)

    assert (preset, url) == (made.spec.name if made.spec else None, made.base_url)


def test_a_preset_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the address is the user's own, the error says so."""
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)

    with pytest.raises(ConfigError, match=r"the address of azure is your own; the README of ccr-plugin-provider-azure"):
        provider(name="azure")


def test_a_wrong_port_is_no_crash() -> None:
    """Whoever connects says what is wrong with it."""
    assert provider(api_base_url="http://localhost:port/v1").spec is None


def test_the_first_start_leaves_out_what_has_no_address() -> None:
    """A key alone does not help there."""
    from ccr_core.cli.firstrun import discover

    assert [] == discover([ProviderSpec(name="own", base_url="https:///v1", key_env="OWN_KEY")], {"OWN_KEY": "k"})
