"""Configuration and plugins put together: what is chosen, and which problems are found where."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from toy import ToyDialect, to_default, toy_config, toy_plugin, toy_registry

from ccr_core import ConfigError, CounterSpec, ObserverSpec, ProviderSpec, RuleSpec, Transformer, TransformerSpec
from ccr_core.config import Config, ProviderConfig, RouterConfig, StepUse, TransformerUse
from ccr_core.routing import Route
from ccr_core.runtime import build
from ccr_core.tokens import Counter


class Other(ToyDialect):
    """Another format, known by the end of its URLs."""

    name = "other"
    endpoints = ("/other",)
    key_style = "x-api-key"


@attrs.frozen
class CapOptions:
    limit: int = 10


STEPS = [
    TransformerSpec(name="cap", factory=Transformer, options=CapOptions, aliases=("Capper",)),
    TransformerSpec(name="plain", factory=Transformer),
    TransformerSpec(name="speaks-toy", factory=Transformer, dialect="toy"),
    TransformerSpec(name="speaks-other", factory=Transformer, dialect="other"),
]
PRESETS = [
    ProviderSpec(
        name="known", base_url="https://api.known.example/v1", dialect="toy", key_env="KNOWN_KEY", models=("k1",)
    ),
    ProviderSpec(
        name="hosted",
        base_url="https://x.example/",
        dialect="toy",
        hosts=("*.hosted.example",),
        transformers=("plain", ("cap", {"limit": 3})),
    ),
    ProviderSpec(name="free", base_url="http://localhost:1/", dialect="toy", key_style="none"),
]


@attrs.frozen
class Inner:
    a: int = 0
    b: int = 0
    c: int = 0


@attrs.frozen
class DialectOptions:
    inner: Inner = Inner()


class Optioned(ToyDialect):
    name = "optioned"
    options = DialectOptions


def registry(**hooks: Any) -> Any:
    return toy_registry(
        toy_plugin(
            **{
                "ccr_dialects": lambda: [ToyDialect(), Other()],
                "ccr_transformers": lambda: STEPS,
                "ccr_providers": lambda: PRESETS,
                **hooks,
            }
        )
    )


def provider(**fields: Any) -> ProviderConfig:
    given = {"name": "p", "api_base_url": "http://p.invalid/", "api_key": "k", "models": ("m",), "dialect": "toy"}
    return ProviderConfig(**{**given, "where": "Providers[0]", **fields})


def config(*providers: ProviderConfig, **fields: Any) -> Config:
    return Config(providers=providers or (provider(),), **fields)


def use(*steps: Any, **models: Any) -> TransformerUse:
    def uses(steps: Any, where: str) -> tuple[StepUse, ...]:
        return tuple(
            StepUse(name=step, where=f"{where}.use[{i}]")
            if isinstance(step, str)
            else StepUse(name=step[0], options=step[1], where=f"{where}.use[{i}]")
            for i, step in enumerate(steps)
        )

    return TransformerUse(
        use=uses(steps, "Providers[0].transformer"),
        models={name: uses(steps, f"Providers[0].transformer.{name}") for name, steps in models.items()},
    )


def problems(config: Config, registry: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build(config, registry)
    return caught.value.message


def test_steps_are_global_then_provider_then_model() -> None:
    """
    One flat list in the order written: everywhere, provider, model.
    """
    made = build(
        config(provider(transformer=use("plain", m=["cap"])), transformer=use("speaks-toy")), registry()
    ).providers["p"]

    assert ["speaks-toy", "plain", "cap"] == [step.spec.name for step in made.plan_for("m").steps]
    assert ["speaks-toy", "plain"] == [step.spec.name for step in made.plan_for("other").steps]


def test_names_of_transformers_ignore_case_and_know_aliases() -> None:
    """
    Existing configurations write names in other ways.
    """
    made = build(config(provider(transformer=use(["CAPPER", {"limit": 5}]))), registry()).providers["p"]

    assert ["cap"] == [step.spec.name for step in made.plan.steps]
    assert 5 == made.plan.steps[0].options.limit


def test_all_problems_are_told_at_once_with_their_places() -> None:
    """
    Unknown names, wrong options and options where none are taken: one error, three places.
    """
    steps = use("capp", ["cap", {"limit": "many"}], ["plain", {"x": 1}])
    text = problems(config(provider(transformer=steps), router=RouterConfig(rules=("defalt",))), registry())

    assert "4 problems" in text
    assert "Providers[0].transformer.use[0]" in text
    assert 'no transformer "capp"; did you mean "cap"?' in text
    assert "Providers[0].transformer.use[1][1].limit" in text
    assert 'expected an integer, got "many"' in text
    assert "plain takes no options" in text
    assert "Router.rules[0]" in text
    assert 'did you mean "default"?' in text


def test_missing_name_is_blamed_on_the_plugin_that_failed() -> None:
    """
    When a plugin failed to load, the error about what it would have offered says so.
    """

    def broken() -> Any:
        raise ImportError("no such thing")

    plugins = toy_registry(toy_plugin(), toy_plugin_named("ccr_plugin_cap", ccr_transformers=broken))
    text = problems(toy_config(providers=(provider(transformer=use("cap")),), router=RouterConfig()), plugins)

    assert 'no transformer "cap"; plugin ccr-plugin-cap failed: ccr_transformers: ImportError: no such thing' in text


def toy_plugin_named(name: str, **hooks: Any) -> Any:
    plugin = toy_plugin(**hooks)
    for hook in ("ccr_dialects", "ccr_ingresses", "ccr_rules"):
        if hook not in hooks:
            delattr(plugin, hook)
    plugin.__name__ = name
    return plugin


def test_two_formats_in_one_chain() -> None:
    """
    Steps that imply different formats are an error with both places.
    """
    text = problems(config(provider(dialect=None, transformer=use("speaks-toy", "speaks-other"))), registry())

    assert "Providers[0].transformer.use[1]" in text
    assert "speaks-toy at Providers[0].transformer.use[0] speaks toy" in text


@pytest.mark.parametrize(
    ("fields", "dialect"),
    [
        ({"dialect": "other"}, "other"),
        ({"dialect": None, "transformer": use("speaks-other")}, "other"),
        ({"dialect": None, "api_base_url": "http://p.invalid/x/other"}, "other"),
        ({"dialect": None, "api_base_url": "http://a.hosted.example/other"}, "other"),
        ({"dialect": None, "api_base_url": "http://a.hosted.example/"}, "toy"),
        ({"dialect": "toy", "api_base_url": "http://p.invalid/x/other"}, "toy"),
    ],
)
def test_which_format_a_provider_speaks(fields: dict[str, Any], dialect: str) -> None:
    """
    What is written wins over a transformer, that over the URL, that over the preset.
    """
    assert dialect == build(config(provider(**fields)), registry()).providers["p"].plan.dialect.name


def test_transformer_sets_options_of_the_dialect() -> None:
    """
    Preset, then transformers in their order, then the provider entry: table by table.
    """

    steps = [
        TransformerSpec(name="sets", factory=Transformer, dialect_options={"optioned": {"inner": {"a": 1, "b": 1}}}),
        TransformerSpec(
            name="takes",
            factory=Transformer,
            options=CapOptions,
            dialect_options=lambda options: {"optioned": {"inner": {"b": options.limit}}, "toy": {"x": 1}},
        ),
    ]
    made = build(
        config(
            provider(dialect="optioned", transformer=use("sets", ["takes", {"limit": 7}]), options={"inner": {"c": 3}})
        ),
        registry(ccr_dialects=lambda: [Optioned(), ToyDialect()], ccr_transformers=lambda: steps),
    ).providers["p"]

    assert DialectOptions(Inner(1, 7, 3)) == made.plan.options


def test_model_may_speak_another_format() -> None:
    """
    A step for one model can select the format for that model alone.
    """
    made = build(
        config(provider(dialect=None, api_base_url="http://a.hosted.example/", transformer=use(m=["speaks-other"]))),
        registry(),
    ).providers["p"]

    assert ("other", "toy") == (made.plan_for("m").dialect.name, made.plan_for("x").dialect.name)


def test_naming_a_known_provider_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    URL, models and key of a preset need not be written.
    """
    monkeypatch.setenv("KNOWN_KEY", "from-env")
    made = build(Config(providers=(ProviderConfig(name="known", where="Providers[0]"),)), registry())

    known = made.providers["known"]
    assert ("https://api.known.example/v1", ("k1",)) == (known.base_url, known.models)
    assert ["from-env"] == [key.token.access for key in known.keys]


def test_preset_is_found_by_host_and_brings_its_steps() -> None:
    """
    A provider under another name is recognised by its URL; steps that are named are not brought twice.
    """
    entry = provider(api_base_url="https://eu.hosted.example/v1", transformer=use(["cap", {"limit": 7}]))
    made = build(config(entry), registry()).providers["p"]

    assert [("plain", "preset hosted"), ("cap", "Providers[0].transformer.use[0]")] == [
        (step.spec.name, step.where) for step in made.plan.steps
    ]


def test_name_of_a_preset_with_another_url_is_not_that_service() -> None:
    """
    A URL of one's own is somebody else, whatever the name says.
    """
    made = build(config(provider(name="known")), registry()).providers["known"]
    assert made.spec is None


def test_provider_that_nobody_knows() -> None:
    """
    Without URL and preset an entry cannot be used; the nearest known name is offered.
    """
    text = problems(Config(providers=(ProviderConfig(name="knwon", where="Providers[0]"),)), registry())

    assert "Providers[0].api_base_url" in text
    assert 'did you mean "known"?' in text


def test_missing_key_is_a_warning_and_an_error_when_used() -> None:
    """
    A provider without a key does not stop the router.
    """
    made = build(config(provider(api_key=None)), registry())

    assert any("p has no api_key" in warning for warning in made.warnings)
    assert () == made.providers["p"].keys


def test_provider_that_needs_no_key() -> None:
    """
    A local server is used without one.
    """
    made = build(Config(providers=(ProviderConfig(name="free", models=("m",), where="Providers[0]"),)), registry())

    assert [""] == [key.token.access for key in made.providers["free"].keys]
    assert not any("no api_key" in warning for warning in made.warnings)


def test_default_route_must_lead_somewhere() -> None:
    """
    A default route to an unknown provider stops the start.
    """
    text = problems(config(router=RouterConfig(default="nobody,m")), registry())

    assert "Router.default" in text
    assert 'no provider for "nobody,m"; known: p' in text


def test_rules_get_their_keys_of_the_router_section() -> None:
    """
    Each rule's options are read from Router; keys of nobody are problems, keys of old configurations are not.
    """

    @attrs.frozen
    class Options:
        limit: int = attrs.field(default=5, metadata={"key": "longThing"})

    rules = [RuleSpec(name="long", decide=to_default, options=Options), RuleSpec(name="default", decide=to_default)]
    with_rules = registry(ccr_rules=lambda: rules)

    made = build(
        config(router=RouterConfig(rules=("long", "default"), options={"longThing": 9, "think": "p,m"})), with_rules
    )
    text = problems(config(router=RouterConfig(options={"longThingg": 9})), with_rules)

    assert 9 == made.rules[0].options.limit
    assert any("Router.think" in warning for warning in made.warnings)
    assert "Router.longThingg" in text
    assert 'did you mean "longThing"?' in text


def test_most_specific_counter_wins() -> None:
    """
    Of the globs that match a model the longest counts; one that cannot be made falls back to the estimate.
    """

    class Fixed(Counter):
        def __init__(self, value: int) -> None:
            self.value = value

        def count(self, text: str) -> int:
            return self.value

    def broken() -> Counter:
        raise OSError("no vocabulary")

    counters = [
        CounterSpec(name="all", factory=lambda: Fixed(1)),
        CounterSpec(name="gpt", factory=lambda: Fixed(2), models=("*gpt*",)),
        CounterSpec(name="gpt4", factory=lambda: Fixed(3), models=("*gpt-4*",)),
        CounterSpec(name="broken", factory=broken, models=("*broken*",)),
    ]
    made = build(config(), registry(ccr_token_counters=lambda: counters))

    assert [1, 2, 3] == [made.tally(model).make().count("x") for model in ("claude", "GPT-5", "gpt-4o")]
    assert 0 < made.tally("broken").make().count("x" * 400) < 400


def test_observer_can_be_switched_off_and_configured() -> None:
    """
    ``observers`` takes options or false; unknown names are problems; one that cannot be made does not stop the start.
    """

    @attrs.frozen
    class Options:
        size: int = 1

    seen: list[Any] = []

    def factory(options: Any, home: Any) -> Any:
        seen.append(options.size)
        raise OSError("disk full")

    with_observer = registry(ccr_observers=lambda: [ObserverSpec(name="w", factory=factory, options=Options)])

    build(config(observers={"w": {"size": 3}}), with_observer)
    build(config(observers={"w": False}), with_observer)
    build(config(log=False), with_observer)

    assert [3] == seen
    assert "observers.v" in problems(config(observers={"v": True}), with_observer)
    assert "observers.w.size" in problems(config(observers={"w": {"size": "x"}}), with_observer)


def test_rules_never_see_secrets() -> None:
    """
    The configuration that rules may read has its secrets masked.
    """
    raw = {"APIKEY": "top-secret-value", "Providers": [{"name": "p", "api_key": "another-secret-value"}]}
    made = build(config(raw=raw), registry())

    assert "secret-value" not in str(made.public)


def test_target_knows_what_the_configuration_says_of_a_model() -> None:
    """
    Window, output limit and reasoning level reach the dialect.
    """
    from ccr_core.config import ModelInfo

    entry = provider(model_info={"m": ModelInfo(name="m", context=1000, max_output=100)})
    target = build(config(entry), registry()).providers["p"].target(Route(provider="p", model="m", level="high"))

    assert (1000, 100, "high", "http://p.invalid/") == (
        target.context,
        target.max_output,
        target.level,
        target.base_url,
    )
