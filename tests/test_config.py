"""The configuration: what a file means, and what is said about one that is wrong."""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import Prices, config
from ccr_core.config import (
    ApiKey,
    Config,
    Found,
    ModelInfo,
    PluginUse,
    Problems,
    StepUse,
    TransformerUse,
    Unresolved,
    find,
    from_document,
    home,
    join,
    load,
    mask,
    parse,
    parse_path,
    read,
    structure,
    structure_parts,
    structure_value,
    top_level_keys,
)
from ccr_core.errors import ConfigError

DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"


def problems_of(document: Mapping[str, Any], **env: str) -> list[str]:
    """The lines of the error that a document gives, without its first line, blanks made single."""
    with pytest.raises(ConfigError) as caught:
        from_document(document, env)
    return [" ".join(line.split()) for line in caught.value.message.splitlines()[1:]]


# --- files --------------------------------------------------------------------------------------------------


def test_the_folder_is_the_users_or_the_one_named() -> None:
    """``CCR_HOME`` moves everything, with ``~`` understood."""
    assert home({}) == Path.home() / ".claude-code-router"
    assert home({"CCR_HOME": "~/elsewhere"}) == Path.home() / "elsewhere"


def test_json_wins_over_toml_and_says_so(tmp_path: Path) -> None:
    """Both may exist: one is used, the other is named so that start can say it."""
    env = {"CCR_HOME": str(tmp_path)}
    assert find(env=env) == Found(None)
    (tmp_path / "config.toml").write_text("")
    assert find(env=env) == Found(tmp_path / "config.toml")
    (tmp_path / "config.json").write_text("{}")
    assert find(env=env) == Found(tmp_path / "config.json", (tmp_path / "config.toml",))
    assert find(tmp_path / "mine.toml", env) == Found(tmp_path / "mine.toml")


def test_no_file_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    """Where one was looked for is in the message."""
    with pytest.raises(ConfigError, match=r"neither config\.json nor config\.toml exists in .*nowhere"):
        load(env={"CCR_HOME": str(tmp_path / "nowhere")})


def test_an_unreadable_file_is_an_error_with_its_cause(tmp_path: Path) -> None:
    """A folder in place of the file, a missing file, and bytes that are no text."""
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    for name, cause in [
        ("", "Is a directory"),
        ("none.json", "No such file"),
        ("latin.json", r"not UTF-8 text \(byte 7\)"),
    ]:
        with pytest.raises(ConfigError, match=rf"cannot read .*: .*{cause}"):
            load(tmp_path / name, {})


JSON5 = """
// remark
{
  PORT: 4000, /* another */
  'Providers': [{name: "a", models: ['m',], transformer: {use: [["maxtoken", {max_tokens: 9}]]}},],
  "// why": "a remark in plain JSON", "_comment": 1,
}
"""
TOML = """
PORT = 4000
[[Providers]]
name = "a"
models = ["m"]
transformer.use = [["maxtoken", {max_tokens = 9}]]
"""
PLAIN = json.dumps(
    {
        "PORT": 4000,
        "Providers": [
            {"name": "a", "models": ["m"], "transformer": {"use": [["maxtoken", {"max_tokens": 9}]]}},
        ],
    }
)


@pytest.mark.parametrize("text", [PLAIN, JSON5, "\ufeff" + PLAIN, TOML], ids=["json", "json5", "bom", "toml"])
def test_all_syntaxes_mean_the_same(tmp_path: Path, text: str) -> None:
    """JSON, JSON5 and TOML with the same keys give the same configuration."""
    path = tmp_path / ("config.toml" if text is TOML else "config.json")
    path.write_text(text, encoding="utf-8")
    loaded = load(path, {})
    assert loaded.port == 4000
    assert [(it.name, it.models, it.where) for it in loaded.providers] == [("a", ("m",), "Providers[0]")]
    step = StepUse(name="maxtoken", options={"max_tokens": 9}, where="Providers[0].transformer.use[0]")
    assert loaded.providers[0].transformer == TransformerUse(use=(step,))
    assert step.options_where == "Providers[0].transformer.use[0][1]"
    assert (loaded.unknown, loaded.source) == ((), path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", '{"a": 1\n "b": 2}', "line 2, column 2: expected comma or '}', found '\"'"),
        ("config.json", '{"a": 1,\n\n  b }', "line 3, column 5: expected colon, found '}'"),
        ("config.json", '{"a": "sk-secret', "line 1, column 7: unclosed string starting"),
        ("config.json", "", "line 1, column 1: no JSON data found"),
        ("config.json", "[1]", "expected an object with keys such as Providers, got a list"),
        ("config.json", "[" * 5000, "nesting level exceeded"),
        ("config.toml", 'a = 1\nb = "x', "end of file: unterminated string"),
        ("config.toml", "a = 1\na = 2\n", "line 2, column 6: cannot overwrite a value"),
    ],
)
def test_a_syntax_error_has_file_line_and_column(tmp_path: Path, name: str, text: str, message: str) -> None:
    """What the parser says, at the place where it says it, and nothing that it had read before."""
    with pytest.raises(ConfigError) as caught:
        parse(text, tmp_path / name)
    assert str(tmp_path / name) in caught.value.message
    assert message in caught.value.message
    assert "sk-secret" not in caught.value.message


def test_a_key_given_twice_is_a_problem(tmp_path: Path) -> None:
    """The later one would win without a word; plain JSON and JSON5 alike."""
    path = tmp_path / "config.json"
    for text in ('{"PORT": 1,\n "PORT": 2}', "{PORT: 1,\n PORT: 2}"):
        path.write_text(text)
        for reader in (lambda: load(path, {}), lambda: read(path)):
            with pytest.raises(ConfigError, match=r"PORT +this key is given twice.*\(line 2, column 2\)"):
                reader()


# --- the environment ----------------------------------------------------------------------------------------


def test_references_are_resolved_everywhere_once() -> None:
    """In every string value, also inside a longer one; keys, lower-case names and what a variable holds stay."""
    raw = {
        "PORT": "$P",
        "Providers": [{"name": "a", "api_key": "${lower}", "api_base_url": "http://$HOST_NAME:$P/$x/v1", "models": []}],
        "Router": {"default": "a,$P", "$P": 1},
        "transformer": {"use": [["m", {"deep": ["$OTHER"]}]]},
    }
    loaded = from_document(raw, {"P": "81", "lower": "k", "HOST_NAME": "h", "OTHER": "$P"})
    provider = loaded.providers[0]
    assert (loaded.port, provider.api_key, provider.api_base_url) == (81, "k", "http://h:81/$x/v1")
    assert (loaded.router.default, loaded.router.options) == ("a,81", {"$P": 1})
    assert loaded.transformer.use[0].options == {"deep": ["$P"]}
    assert loaded.raw is raw
    assert raw["PORT"] == "$P"


def test_what_is_not_set_stays_and_is_reported() -> None:
    """Unset and empty variables leave the text; a missing key is a warning that names the variable."""
    document = {
        "Providers": [{"name": "a", "api_key": "$NO_KEY", "models": ["${EMPTY}/m"]}],
        "Router": {"default": "a,b"},
    }
    loaded = from_document(document, {"EMPTY": ""})
    assert (loaded.providers[0].api_key, loaded.providers[0].models) == ("$NO_KEY", ("${EMPTY}/m",))
    assert loaded.unresolved == (
        Unresolved("Providers[0].api_key", "NO_KEY"),
        Unresolved("Providers[0].models[0]", "EMPTY"),
    )
    assert loaded.warnings == ("Providers[0].api_key: the environment variable NO_KEY is not set",)


# --- meaning ------------------------------------------------------------------------------------------------


def test_an_empty_document_has_the_documented_defaults() -> None:
    """Nothing is required; ``first_byte_s`` follows the time limit of the API."""
    loaded = from_document({}, {})
    assert (loaded.host, loaded.port, loaded.log, loaded.log_level) == ("127.0.0.1", 3456, True, "info")
    assert (loaded.providers, loaded.router.default, loaded.claude_path) == ((), None, "claude")
    assert loaded.limits == config.Limits(first_byte_s=600)
    assert loaded.warnings == ()


def test_every_top_level_key_arrives() -> None:
    """Each key of the file is the attribute of the same meaning."""
    loaded = from_document(
        {
            "APIKEY": "k",
            "HOST": "h",
            "PORT": "81",
            "workers": 2,
            "PROXY_URL": "http://p",
            "NO_PROXY": "a, b",
            "LOG": False,
            "LOG_LEVEL": "warn",
            "API_TIMEOUT_MS": "30000",
            "NON_INTERACTIVE_MODE": True,
            "CLAUDE_PATH": "/bin/claude",
            "transformer": {"use": ["cleancache"]},
            "transformers": [{"path": "t.py", "options": {"a": 1}, "name": "t"}],
            "fallback": {"default": ["a,b"]},
            "observers": {"request-log": False, "x": {"level": 1}},
            "server_tools": {"image-agent": False, "x": {"a": 1}},
            "pages": {"ui": False, "x": {"a": 1}},
            "management": {"remote": True},
            "oauth": {"codex": {"api_base": "http://x"}},
            "token_store": {"type": "keyring"},
            "count_tokens": "upstream",
            "answer_model": "requested",
            "disabled_plugins": ["p"],
            "plugins_lock": "enforce",
            "Plugins": [{"name": "token-speed", "enabled": True, "options": {"a": 1}}],
            "StatusLine": {"enabled": True},
            "CUSTOM_ROUTER_PATH": "/r.py",
            "REWRITE_SYSTEM_PROMPT": "~/s.txt",
            "forceUseImageAgent": True,
            "limits": {"body_mb": 1.5, "idle_s": 9},
            "retry": {"attempts": 3, "also": [400]},
            "router": {"default": "a,b", "rules": ["default"], "think": "a,c"},
            "OPENAI_API_KEY": "",
        },
        {},
        Path("/home/x/config.json"),
    )
    step = StepUse(name="cleancache", where="transformer.use[0]")
    assert attrs.asdict(loaded, recurse=False, filter=lambda field, _: "keys" in field.metadata) == {
        "providers": (),
        "router": config.RouterConfig(default="a,b", rules=("default",), options={"think": "a,c"}, where="router"),
        "apikey": "k",
        "host": "h",
        "port": 81,
        "workers": 2,
        "proxy_url": "http://p",
        "no_proxy": ("a", "b"),
        "log": False,
        "log_level": "warn",
        "api_timeout_ms": 30000,
        "non_interactive": True,
        "claude_path": "/bin/claude",
        "transformer": TransformerUse(use=(step,)),
        "transformers": (config.CustomTransformer(path=Path("/home/x/t.py"), options={"a": 1}, name="t"),),
        "fallback": {"default": ("a,b",)},
        "observers": {"request-log": False, "x": {"level": 1}},
        "server_tools": {"image-agent": False, "x": {"a": 1}},
        "pages": {"ui": False, "x": {"a": 1}},
        "management": config.Management(enabled=True, remote=True),
        "oauth": {"codex": {"api_base": "http://x"}},
        "token_store": {"type": "keyring"},
        "count_tokens": "upstream",
        "answer_model": "requested",
        "disabled_plugins": ("p",),
        "plugins_lock": "enforce",
        "plugins": (PluginUse(name="token-speed", enabled=True, options={"a": 1}),),
        "status_line": {"enabled": True},
        "custom_router_path": Path("/r.py"),
        "rewrite_system_prompt": Path.home() / "s.txt",
        "force_use_image_agent": True,
        "limits": config.Limits(body_mb=1.5, idle_s=9, first_byte_s=30),
        "retry": config.Retry(attempts=3, also=(400,)),
    }
    assert (loaded.unknown, loaded.warnings) == ((), ())


def test_a_provider_entry_arrives_whole() -> None:
    """Models with details, several keys, steps for one model."""
    document = {
        "Providers": [
            {
                "name": "a",
                "api_base_url": "http://x",
                "api_key": ["k1", {"key": "k2", "weight": 3}],
                "models": ["m1", {"name": "m2", "context": 1000, "prices": {"input": 3, "output": 15}}],
                "transformer": {"use": ["s"], "m-1.5": {"use": ["t"]}},
                "dialect": "openai-chat",
                "options": {"x": 1},
                "headers": {"h": "v"},
                "tokenizer": {"default": {"type": "tiktoken"}},
                "first_byte_s": 90,
                "enabled": False,
            }
        ],
        "Router": {"default": "a,m1"},
    }
    (provider,) = from_document(document, {}).providers
    assert provider == config.ProviderConfig(
        name="a",
        api_base_url="http://x",
        api_key="k1",
        api_keys=(ApiKey(key="k1"), ApiKey(key="k2", weight=3)),
        models=("m1", "m2"),
        model_info={
            "m1": ModelInfo(name="m1"),
            "m2": ModelInfo(name="m2", context=1000, prices=Prices(input=3, output=15)),
        },
        transformer=TransformerUse(
            use=(StepUse(name="s", where="Providers[0].transformer.use[0]"),),
            models={"m-1.5": (StepUse(name="t", where='Providers[0].transformer["m-1.5"].use[0]'),)},
        ),
        dialect="openai-chat",
        options={"x": 1},
        headers={"h": "v"},
        tokenizer={"default": {"type": "tiktoken"}},
        first_byte_s=90,
        enabled=False,
        where="Providers[0]",
    )
    assert provider.lacks == ()
    assert "k1" not in repr(provider)


@pytest.mark.parametrize(
    ("entry", "lacks"),
    [
        ({"api_base_url": "u", "api_key": "k", "models": ["m"]}, ()),
        ({"api_base_url": "", "api_key": "", "models": None}, ("api_base_url", "api_key", "models")),
        ({"api_base_url": "u", "auth_type": "oauth", "models": ["m"]}, ("oauth_provider",)),
        ({"auth_type": "oauth", "oauth_provider": "copilot", "models": ["m"]}, ("api_base_url",)),
    ],
)
def test_what_a_provider_lacks_is_no_error_but_visible(entry: dict[str, Any], lacks: tuple[str, ...]) -> None:
    """A preset may supply it; empty means missing."""
    (provider,) = from_document({"Providers": [{"name": "a", **entry}]}, {}).providers
    assert provider.lacks == lacks


def test_without_a_router_the_first_model_is_the_default() -> None:
    """With a warning; disabled providers and those without models are passed over."""
    document = {
        "providers": [
            {"name": "off", "enabled": False, "models": ["x"]},
            {"name": "none"},
            {"name": "a", "models": ["m", "n"]},
        ]
    }
    loaded = from_document(document, {})
    assert loaded.router.default == "a,m"
    assert loaded.warnings == ('Router.default is not set; using the first model, "a,m"',)


def test_the_first_alias_wins_and_the_other_is_named() -> None:
    """Proxy keys in the old order; nothing is passed over in silence; an empty one counts as absent."""
    loaded = from_document({"PROXY_URL": "http://b", "https_proxy": "http://a", "HTTPS_PROXY": ""}, {})
    assert loaded.proxy_url == "http://a"
    assert loaded.warnings == ("PROXY_URL is ignored because https_proxy is set too",)


def test_the_environment_fills_in_what_the_file_leaves_out() -> None:
    """Hosts without proxy and the program to start; the file is stronger."""
    env = {"NO_PROXY": "a,b", "CLAUDE_PATH": "/c"}
    assert (from_document({}, env).no_proxy, from_document({}, env).claude_path) == (("a", "b"), "/c")
    loaded = from_document({"NO_PROXY": ["x"], "CLAUDE_PATH": "y"}, env)
    assert (loaded.no_proxy, loaded.claude_path) == (("x",), "y")


def test_an_unknown_top_level_key_only_warns() -> None:
    """Old files have all sorts; they are kept and named, the nearest known key too."""
    loaded = from_document({"LOG_LEVL": "info", "mine": {}, "OPENAI_MODEL": "x", "_comment": "x"}, {})
    assert loaded.unknown == ("LOG_LEVL", "mine")
    assert loaded.warnings == (
        'unknown key "LOG_LEVL" is ignored; did you mean "LOG_LEVEL"?',
        'unknown key "mine" is ignored',
    )


def test_secrets_are_not_in_the_representation() -> None:
    """A configuration in a log line or a traceback shows no secret."""
    document = {"APIKEY": "sk-1", "PROXY_URL": "http://u:sk-2@h", "Providers": [{"name": "a", "api_key": "sk-3"}]}
    assert "sk-" not in repr(from_document(document, {}))


@pytest.mark.parametrize(
    "document",
    [
        {
            "APIKEY": "k",
            "LOG": True,
            "API_TIMEOUT_MS": 600000,
            "Providers": [
                {
                    "name": "codex",
                    "api_base_url": "https://chatgpt.com/backend-api/codex/responses",
                    "auth_type": "oauth",
                    "oauth_provider": "codex",
                    "models": ["gpt-5.3-codex"],
                    "transformer": {"use": ["openai-responses"]},
                }
            ],
            "Router": {"default": "codex,gpt-5.3-codex", "longContextThreshold": 60000, "image": "codex,gpt-5.3-codex"},
        },
        {"transformer": {"use": ["deepseek"], "deepseek-chat": {"use": ["tooluse"]}}},
        {"transformer": {"use": [["maxtoken", {"max_tokens": 16384}]]}},
        {"transformers": [{"path": "/path/to/custom-transformer.js", "options": {}}]},
        {"CUSTOM_ROUTER_PATH": "/path/to/custom-router.js"},
        {"PORT": 3456, "Providers": [], "Router": {}},
        {"LOG": True, "NON_INTERACTIVE_MODE": True, "Providers": []},
    ],
    ids=lambda document: next(iter(document)),
)
def test_files_of_the_older_tool_load_as_they_are(document: dict[str, Any]) -> None:
    """The forms that its documentation showed give no error and no warning."""
    assert from_document(document, {}).warnings == ()


# --- problems -----------------------------------------------------------------------------------------------


def test_all_problems_are_reported_at_once_with_their_places(tmp_path: Path) -> None:
    """The whole text: path, what was expected, what was found, line and column, in the order of the file."""
    path = tmp_path / "config.json"
    path.write_text(
        """{ // mine
  PORT: "65k",
  "Providers": [
    { name: "a", models: "m", modles: [] },
    { "api_key": 7, },
    { name: "a", transformer: { use: ["x", 5], "gpt-4.1": ["y"] } }
  ],
  "limits": { idel_s: 3, body_mb: true },
  LOG: "false",
}
"""
    )
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert caught.value.message == (
        """\
11 problems in config.json
  PORT                                  expected an integer, got "65k"   (line 2, column 3)
  Providers[0].models                   expected a list, got "m"   (line 4, column 18)
  Providers[0].modles                   unknown key; did you mean "models"?   (line 4, column 31)
  Providers[1].name                     missing; expected a string   (line 5, column 5)
  Providers[1].api_key                  expected a string or a list, got 7   (line 5, column 7)
  Providers[2].name                     "a" is already the name of Providers[0]   (line 6, column 7)
  Providers[2].transformer.use[1]       expected a name or [name, {options}], got 5   (line 6, column 44)
  Providers[2].transformer["gpt-4.1"]   expected {"use": […]} for the model "gpt-4.1", got a list   (line 6, column 48)
  limits.idel_s                         unknown key; did you mean "idle_s"?   (line 8, column 15)
  limits.body_mb                        expected a number, got true   (line 8, column 26)
  LOG                                   expected true or false, got "false"   (line 9, column 3)"""
    )


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"LOG": 0}, "LOG expected true or false, got 0"),
        ({"PORT": True}, "PORT expected an integer, got true"),
        ({"PORT": 65536}, "PORT expected an integer from 0 to 65535, got 65536"),
        ({"API_TIMEOUT_MS": "-1"}, 'API_TIMEOUT_MS expected an integer, got "-1"'),
        ({"API_TIMEOUT_MS": 1.5}, "API_TIMEOUT_MS expected an integer, got 1.5"),
        ({"limits": {"ping_s": "7"}}, 'limits.ping_s expected a number, got "7"'),
        ({"limits": {"ping_s": 0}}, "limits.ping_s must be > 0: 0"),
        (
            {"LOG_LEVEL": "loud"},
            'LOG_LEVEL expected one of "fatal", "error", "warn", "info", "debug", "trace", got "loud"',
        ),
        ({"fallback": {"think": "a,b"}}, 'fallback.think expected a list, got "a,b"'),
        ({"fallback": {"think": ["a,b", 1]}}, "fallback.think[1] expected a string, got 1"),
        ({"observers": {"log": "no"}}, 'observers.log expected an object or true or false, got "no"'),
        ({"Router": []}, "Router expected an object, got a list"),
        ({"Router": {"default": ["a,b"]}}, "Router.default expected a string, got a list"),
        ({"Router": {"rules": "x"}}, 'Router.rules expected a list, got "x"'),
        ({"Providers": {}}, "Providers expected a list, got an object"),
        ({"Providers": ["a"]}, 'Providers[0] expected an object, got "a"'),
        ({"Providers": [{"name": ""}]}, "Providers[0].name missing; expected a string"),
        ({"Providers": [{"name": "a", "where": "x"}]}, "Providers[0].where unknown key"),
        (
            {"Providers": [{"name": "a", "auth_type": "key"}]},
            'Providers[0].auth_type expected one of "apikey", "oauth", got "key"',
        ),
        ({"Providers": [{"name": "a", "headers": {"x": 1}}]}, "Providers[0].headers.x expected a string, got 1"),
        (
            {"Providers": [{"name": "a", "models": [{"context": 1}]}]},
            "Providers[0].models[0].name missing; expected a string",
        ),
        ({"transformers": [{"paht": "x", "path": "y"}]}, 'transformers[0].paht unknown key; did you mean "path"?'),
        ({"transformer": ["x"]}, 'transformer expected an object such as {"use": ["name"]}, got a list'),
        ({"transformer": {"use": "x"}}, 'transformer.use expected a list of transformer names, got "x"'),
        ({"transformer": {"m": {"uses": []}}}, 'transformer.m.uses unknown key; did you mean "use"?'),
        (
            {"transformer": {"use": [["x", {}, 1]]}},
            "transformer.use[0] expected a name or [name, {options}], got a list",
        ),
        ({"forceUseImageAgent": "true"}, 'forceUseImageAgent expected true or false, got "true"'),
    ],
    ids=str,
)
def test_a_wrong_value_is_named(document: dict[str, Any], problem: str) -> None:
    """Path, expectation and value; nothing is converted that was not asked for."""
    assert problems_of(document) == [problem]


def test_the_place_is_that_of_the_nearest_thing_that_exists(tmp_path: Path) -> None:
    """In TOML too: a missing key is shown at its table, an inline value at its key."""
    path = tmp_path / "config.toml"
    path.write_text('LOG = "x"\n\n[[Providers]]\nmodels = [\n  1,\n]\n')
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert [line.partition("   (")[2] for line in caught.value.message.splitlines()[1:]] == [
        "line 1, column 1)",
        "line 3, column 3)",
        "line 4, column 1)",
    ]


def test_no_message_shows_a_secret() -> None:
    """Neither under a key that holds one nor inside a URL."""
    document = {
        "APIKEY": ["sk-1"],
        "Providers": [
            {
                "name": "a",
                "api_key": {"key": "sk-2", "wieght": 1},
                "headers": "sk",
                "tokenizer": "http://u:sk-3@h/?key=sk-4",
            },
            {"name": "b", "api_key": [{"key": "sk-5", "weight": "sk-6"}]},
        ],
    }
    lines = problems_of(document)
    assert [line.partition(" ")[2] for line in lines] == [
        "expected a string or a list, got an object",
        'expected an object, got "sk"',
        'expected an object, got "http://u:…@h/?key=…"',
        "expected a number, got a string (not shown)",
        "expected a string, got a list",
    ]


# --- the converter ------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


@attrs.frozen
class Inner:
    size: int
    token: str = ""


@attrs.frozen
class Options:
    """What a plugin author writes."""

    max_tokens: int = 1
    ratio: float = 0.5
    on: bool = False
    name: str | None = None
    mixed: str | int = ""
    mode: Literal["a", 1] = "a"
    colour: Colour = Colour.RED
    items: tuple[Inner, ...] = ()
    table: Mapping[str, Inner] = attrs.field(factory=dict)
    anything: Any = None
    long_context: int = attrs.field(default=1, metadata={"key": "longContext"}, validator=attrs.validators.ge(0))
    made: int = attrs.field(default=7, metadata={"key": None})


def test_options_are_made_from_plain_data() -> None:
    """Every kind of field, nested, with a key of its own."""
    problems = Problems()
    value = {
        "max_tokens": 5,
        "ratio": 2,
        "on": True,
        "name": None,
        "mixed": 3,
        "mode": 1,
        "colour": 2,
        "items": [{"size": 1}],
        "table": {"x": {"size": 2, "token": "t"}},
        "anything": {"a": [1]},
        "longContext": 9,
    }
    expected = Options(
        5, 2, True, None, 3, 1, Colour.TWO, (Inner(1),), {"x": Inner(2, "t")}, {"a": [1]}, long_context=9
    )
    assert structure(Options, value, "here", problems) == expected
    assert problems.items == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"max_tokens": "7"}, ("here.max_tokens", 'expected an integer, got "7"')),
        ({"max_tokens": True}, ("here.max_tokens", "expected an integer, got true")),
        ({"max_tokens": 7.0}, ("here.max_tokens", "expected an integer, got 7.0")),
        ({"max_tokens": None}, ("here.max_tokens", "expected an integer, got null")),
        ({"ratio": True}, ("here.ratio", "expected a number, got true")),
        ({"on": "false"}, ("here.on", 'expected true or false, got "false"')),
        ({"on": 1}, ("here.on", "expected true or false, got 1")),
        ({"name": 5}, ("here.name", "expected a string, got 5")),
        ({"mixed": 1.5}, ("here.mixed", "expected a string or an integer, got 1.5")),
        ({"mode": True}, ("here.mode", 'expected one of "a", 1, got true')),
        ({"colour": "blue"}, ("here.colour", 'expected one of "red", 2, got "blue"')),
        ({"items": "abc"}, ("here.items", 'expected a list, got "abc"')),
        ({"items": [{"size": 1}, 5]}, ("here.items[1]", "expected an object, got 5")),
        ({"items": [{}]}, ("here.items[0].size", "missing; expected an integer")),
        ({"table": {"a b": {"size": "x"}}}, ('here.table["a b"].size', 'expected an integer, got "x"')),
        ({"table": []}, ("here.table", "expected an object, got a list")),
        ({"items": [{"size": 1, "token": 5}]}, ("here.items[0].token", "expected a string, got 5")),
        ({"max_token": 5}, ("here.max_token", 'unknown option of x; did you mean "max_tokens"?')),
        ({"made": 5}, ("here.made", 'unknown option of x; did you mean "mode"?')),
        ({"long_context": 5}, ("here.long_context", 'unknown option of x; did you mean "longContext"?')),
        ({"longContext": -1}, ("here.long_context", "must be >= 0: -1")),
        ({"anything_else_at_all": 5}, ("here.anything_else_at_all", "unknown option of x")),
        ({"max_tokens": "x" * 200}, ("here.max_tokens", 'expected an integer, got "' + "x" * 55 + '…"')),
        (5, ("here", "expected an object, got 5")),
    ],
    ids=str,
)
def test_options_are_strict(value: Any, problem: tuple[str, str]) -> None:
    """Each wrong value gives one problem with its path, and no instance."""
    problems = Problems()
    assert structure(Options, value, "here", problems, "option of x") is None
    assert [(item.path, item.message) for item in problems.items] == [problem]


def test_all_wrong_options_are_reported() -> None:
    """One look shows everything that is wrong."""
    problems = Problems()
    structure(
        Options, {"max_tokens": "7", "on": "x", "wrong": 1, "items": [{"size": "a"}, {"siez": 1}]}, "here", problems
    )
    assert {item.path for item in problems.items} == {
        "here.max_tokens",
        "here.on",
        "here.wrong",
        "here.items[0].size",
        "here.items[1].size",
        "here.items[1].siez",
    }


def test_values_without_a_class_are_structured_too() -> None:
    """For a list of names or a table of strings."""
    problems = Problems()
    assert structure_value(tuple[str, ...], ["a"], "x", problems) == ("a",)
    assert structure_value(Mapping[str, str], {"a": 1}, "x", problems) is None
    assert [item.path for item in problems.items] == ["x.a"]


@attrs.frozen
class Background:
    background: str | None = None


@attrs.frozen
class LongContext:
    long_context: str | None = attrs.field(default=None, metadata={"key": "longContext"})
    threshold: int = attrs.field(default=60000, metadata={"key": "longContextThreshold"})


def test_several_rules_share_one_table() -> None:
    """Each takes its own keys; a key that none of them knows is a problem with the nearest of all."""
    problems = Problems()
    table = {"background": "a,b", "longContext": "c,d", "longContextThreshold": "9", "longContxt": "x", "// why": "y"}
    parts = structure_parts([Background, LongContext], table, "Router", problems)
    assert parts == [Background("a,b"), None]
    assert [(item.path, item.message) for item in problems.items] == [
        ("Router.longContxt", 'unknown key; did you mean "longContext"?'),
        ("Router.longContextThreshold", 'expected an integer, got "9"'),
    ]
    assert structure_parts([Background], {"custom": 1}, "Router", Problems(), also=("custom",)) == [Background()]


def test_raise_if_any_raises_only_if_there_is_one() -> None:
    """One problem is counted as one; without a file there are no places."""
    problems = Problems()
    problems.raise_if_any(None)
    problems.add("a.b", "is wrong")
    with pytest.raises(ConfigError) as caught:
        problems.raise_if_any(None)
    assert caught.value.message == "1 problem in the configuration\n  a.b   is wrong"


# --- paths and masks ----------------------------------------------------------------------------------------


@given(st.lists(st.text() | st.integers(0, 99), min_size=1).filter(lambda keys: isinstance(keys[0], str)))
def test_a_path_can_be_read_back(keys: list[str | int]) -> None:
    """Whatever is in the keys."""
    assert parse_path(join("", *keys)) == tuple(keys)


@pytest.mark.parametrize("text", [".a", "a..b", "a b", "a[", "a[x]", "a.[0]"])
def test_what_is_no_path_is_refused(text: str) -> None:
    """With an example of one."""
    with pytest.raises(ConfigError, match="is not a path"):
        parse_path(text)


def test_a_masked_document_shows_what_is_there_but_no_secret() -> None:
    """References stay, secrets keep their kind and their end, everything else is as it was."""
    raw = {
        "APIKEY": "$CCR_KEY",
        "PROXY_URL": "http://user:pass@host:1/",
        "Providers": [
            {
                "api_key": ["sk-or-v1-0123456789abcd", "${K}", {"key": "short", "weight": 2}],
                "headers": {"X-Api-Key": "$A-and-more-than-that", "Accept": "x"},
                "transformer": {"use": [["maxtoken", {"max_tokens": 5}]]},
                "api_base_url": "http://h/v1?key=abc&alt=sse",
            }
        ],
    }
    assert mask(raw) == {
        "APIKEY": "$CCR_KEY",
        "PROXY_URL": "http://user:…@host:1/",
        "Providers": [
            {
                "api_key": ["sk-…abcd", "${K}", {"key": "…", "weight": 2}],
                "headers": {"X-Api-Key": "$A-…that", "Accept": "x"},
                "transformer": {"use": [["maxtoken", {"max_tokens": 5}]]},
                "api_base_url": "http://h/v1?key=…&alt=sse",
            }
        ],
    }


# --- cost and documentation ---------------------------------------------------------------------------------


def run(code: str) -> list[str]:
    """The words that a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    return done.stdout.split()


HEAVY = "cattrs tomlkit pyjson5 json5 httpx starlette click tempfile hashlib"


def test_importing_is_cheap() -> None:
    """The commands that people run often do not pay for the converter or the editor."""
    code = f"import sys, ccr_core.config; print(*[name for name in {HEAVY.split()} if name in sys.modules])"
    assert run(code) == []


def test_a_plain_json_file_needs_no_json5_parser(tmp_path: Path) -> None:
    """Only the converter is imported to read a file without problems."""
    (tmp_path / "config.json").write_text(PLAIN)
    code = (
        "import sys, pathlib, ccr_core.config as c; "
        f"c.load(pathlib.Path({str(tmp_path / 'config.json')!r})); "
        f"print(*[name for name in {HEAVY.split()} if name in sys.modules])"
    )
    assert run(code) == ["cattrs"]


def test_the_reference_names_every_key() -> None:
    """``docs/configuration.md`` has a row for each key that a file may have."""
    text = DOCS.read_text()
    keys = {*top_level_keys(), *config.OLD_KEYS, "default", "rules", "key", "weight"}
    for cls in (config.ProviderConfig, config.ModelInfo, config.CustomTransformer, PluginUse, config.Limits):
        keys.update(config.keys_of(cls))
    assert sorted(key for key in keys if f"`{key}`" not in text) == []


def test_the_examples_of_the_reference_load() -> None:
    """Every JSON5 and TOML block of the documentation is a configuration without problems or warnings."""
    import re

    blocks = re.findall(r"```(json5|toml)\n(.*?)```", DOCS.read_text(), re.S)
    assert len(blocks) >= 3
    for kind, text in blocks:
        path = Path("config.toml" if kind == "toml" else "config.json")
        loaded: Config = from_document(
            parse(text, path).data, {"DEEPSEEK_KEY": "x", "OPENROUTER_KEY": "y", "CCR_KEY": "z"}
        )
        assert (loaded.unknown, loaded.warnings) == ((), ())
