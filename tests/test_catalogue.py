"""What is known of models, and who says it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from toy import toy_plugin, toy_runtime

from ccr_core import Catalogue, CatalogueSpec, ModelFacts, Prices, Subject
from ccr_core.catalogue import KEPT, Facts
from ccr_core.config import ModelInfo, ProviderConfig
from ccr_core.routing import Route


class Saying(Catalogue):
    """Says the same of every model, and counts how often."""

    def __init__(self, said: Any) -> None:
        self.said = said
        self.asked: list[Subject] = []

    def facts(self, subject: Subject) -> Any:
        self.asked.append(subject)
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def facts(*said: Any) -> tuple[Facts, list[Saying]]:
    made = [Saying(item) for item in said]
    return Facts((f"c{n}", "p", lambda item=item: item) for n, item in enumerate(made)), made  # type: ignore[misc]


THIS = Subject(provider="toy", model="m")


def test_the_first_that_knows_wins() -> None:
    """
    Field by field: a catalogue fills in what those before it leave open.
    """
    first = ModelFacts(context=100, inputs=frozenset({"text"}))
    second = ModelFacts(context=200, max_output=5, prices=Prices(input=1.0), title="M")
    every, _ = facts(None, first, second)

    assert ModelFacts(
        context=100, max_output=5, prices=Prices(input=1.0), inputs=frozenset({"text"}), title="M"
    ) == every.of(THIS)


def test_each_model_is_looked_up_once() -> None:
    """
    Facts are remembered, unknown models too, and not for ever.
    """
    every, (catalogue,) = facts(None)

    for _ in range(3):
        every.of(THIS)
    for number in range(KEPT):
        every.of(Subject(provider="toy", model=str(number)))
    every.of(THIS)

    assert 2 == sum(subject == THIS for subject in catalogue.asked)


@pytest.mark.parametrize("said", [ValueError("broken"), {"context": 1}])
def test_a_broken_catalogue_is_left_out(said: Any, caplog: pytest.LogCaptureFixture) -> None:
    """
    One that raises, or says something else, is not asked again; the others are.
    """
    every, (broken, other) = facts(said, ModelFacts(context=7))

    with caplog.at_level(logging.WARNING, "ccr.catalogue"):
        found = [every.of(THIS).context, every.of(Subject(provider="toy", model="n")).context]

    assert ([7, 7], 1, 2) == (found, len(broken.asked), len(other.asked))
    assert ["catalogue c0 (plugin p) failed and is left out"] == [record.message for record in caplog.records]


def test_a_catalogue_is_made_at_its_first_use() -> None:
    """
    One that cannot be made is left out too.
    """
    made: list[int] = []

    def factory() -> Catalogue:
        made.append(1)
        raise OSError("no file")

    every = Facts([("c", "p", factory)])
    assert [] == made

    assert (ModelFacts(), ModelFacts()) == (every.of(THIS), every.of(Subject(provider="x", model="y")))
    assert [1] == made


def test_the_configuration_wins() -> None:
    """
    Window and output limit come from the configuration, else from the catalogues; so does what a dialect is told.
    """
    said = Saying(ModelFacts(context=100, max_output=10, title="The model"))
    plugin = toy_plugin(ccr_catalogues=lambda: [CatalogueSpec(name="c", factory=lambda: said)])
    entry = ProviderConfig(
        name="toy",
        api_base_url="http://toy.invalid/",
        api_key="k",
        models=("m", "n"),
        dialect="toy",
        model_info={"n": ModelInfo(name="n", context=7, prices=Prices(input=1.0, output=2.0))},
    )
    runtime = toy_runtime(plugin, providers=(entry,))
    m, n = (Route(provider="toy", model=name) for name in "mn")

    assert (100, 7, None) == (runtime.window(m), runtime.window(n), runtime.window(Route(provider="x", model="m")))
    targets = [runtime.providers["toy"].target(route) for route in (m, n)]
    assert [(100, 10), (7, 10)] == [(target.context, target.max_output) for target in targets]
    assert [None, Prices(input=1.0, output=2.0)] == [runtime.providers["toy"].facts(name).prices for name in "mn"]
    assert Subject(provider="toy", model="m", base_url="http://toy.invalid/") == said.asked[0]


@pytest.mark.parametrize(
    ("prices", "usage", "cost"),
    [
        (Prices(input=2.0, output=10.0), {"input_tokens": 1_000_000, "output_tokens": 100_000}, 3.0),
        (Prices(input=2.0, output=10.0), {"input_tokens": 0, "cache_read_input_tokens": 1_000_000}, 2.0),
        (Prices(input=2.0, output=10.0, cache_read=0.2), {"cache_read_input_tokens": 1_000_000}, 0.2),
        (Prices(input=2.0, output=10.0, cache_write=2.5), {"cache_creation_input_tokens": 1_000_000}, 2.5),
        (Prices(input=2.0), {"input_tokens": 1, "output_tokens": 1}, None),
        (Prices(input=2.0), {"input_tokens": 1_000_000, "output_tokens": 0}, 2.0),
        (Prices(input=0.0, output=0.0), {"input_tokens": 5}, 0.0),
        (Prices(), {"input_tokens": 5}, None),
        (Prices(input=2.0, output=10.0), {}, None),
        (Prices(input=2.0, output=10.0), {"input_tokens": None, "output_tokens": "many"}, None),
    ],
)
def test_cost(prices: Prices, usage: dict[str, Any], cost: float | None) -> None:
    """
    Tokens cost by their kind; a price that is not known is not 0.
    """
    assert cost == prices.cost(usage)
