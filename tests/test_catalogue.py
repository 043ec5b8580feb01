"""What is known of models, and who says it."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any, ClassVar

import pytest
from toy import FakeSender, ask, call, stream, toy_plugin, toy_runtime

from ccr_core import Catalogue, CatalogueSpec, ModelFacts, Prices, Subject
from ccr_core.catalogue import KEPT, Facts
from ccr_core.config import ModelInfo, ProviderConfig
from ccr_core.reload import Reload
from ccr_core.routing import Route
from ccr_core.server import create_app


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


WRITTEN = {"cache_creation_input_tokens": 1_000_000}
HOURS = {"ephemeral_5m_input_tokens": 250_000, "ephemeral_1h_input_tokens": 750_000}


@pytest.mark.parametrize(
    ("prices", "usage", "cost"),
    [
        (Prices(input=2.0, output=10.0), {"input_tokens": 1_000_000, "output_tokens": 100_000}, 3.0),
        (Prices(input=2.0, output=10.0), {"input_tokens": 0, "cache_read_input_tokens": 1_000_000}, 2.0),
        (Prices(input=2.0, output=10.0, cache_read=0.2), {"cache_read_input_tokens": 1_000_000}, 0.2),
        (Prices(input=2.0, output=10.0, cache_write=2.5), {"cache_creation_input_tokens": 1_000_000}, 2.5),
        (Prices(input=2.0, output=10.0, cache_write=2.5), {**WRITTEN, "cache_creation": HOURS}, 2.5 * 0.25 + 4 * 0.75),
        (Prices(input=2.0, cache_write=2.5, cache_write_1h=3.0), {**WRITTEN, "cache_creation": HOURS}, 2.875),
        (Prices(input=2.0), {**WRITTEN, "cache_creation": HOURS}, 2.0),
        (Prices(input=2.0, cache_write=2.5), {**WRITTEN, "cache_creation": {}}, 2.5),
        (Prices(input=2.0, cache_write=2.5), {**WRITTEN, "cache_creation": None}, 2.5),
        (Prices(input=2.0, cache_write=2.5), {"input_tokens": 0, "cache_creation": HOURS}, 0.0),
        (Prices(cache_write=2.5), {**WRITTEN, "cache_creation": {"ephemeral_1h_input_tokens": 9e9}}, 4.0),
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
    Tokens cost by their kind, those of cache entries by how long they are kept; a price that is not known is not 0.
    """
    assert cost == prices.cost(usage)


class Slowly(Catalogue):
    """Remembers in which thread it was made and asked."""

    threads: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.threads.append(threading.get_ident())

    def facts(self, subject: Subject) -> ModelFacts | None:
        self.threads.append(threading.get_ident())
        return ModelFacts(context=1000)


def slowly() -> Any:
    """A runtime with such a catalogue."""
    Slowly.threads = []
    return toy_runtime(toy_plugin(ccr_catalogues=lambda: [CatalogueSpec(name="slowly", factory=Slowly)]))


async def test_catalogues_are_read_beside_the_loop() -> None:
    """
    Catalogues are made and first asked in a thread, when the server starts: nobody waits for their files.
    """
    app = create_app(slowly(), FakeSender())
    told: list[Any] = []
    over = asyncio.Event()

    async def receive() -> Any:
        if told:
            await over.wait()
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        told.append(message)

    serving = asyncio.create_task(app({"type": "lifespan"}, receive, send))
    async with asyncio.timeout(10):
        while len(Slowly.threads) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    over.set()
    await serving

    assert 1 + 2 * 2 >= len(Slowly.threads) >= 4
    assert threading.get_ident() not in Slowly.threads


async def test_requests_wait_for_catalogues() -> None:
    """
    A request that comes before they are read waits for that, and those after it find everything known.
    """
    app = create_app(slowly(), FakeSender(*(stream(b'data: {"text":"a"}\n\ndata: {"end":true}\n\n') for _ in range(6))))

    got = await asyncio.gather(*(call(app, "POST", "/toy", ask(stream=True)) for _ in range(5)))
    await call(app, "POST", "/toy", ask(stream=True))

    assert {200} == {each.status for each in got}
    assert 1 == len({*Slowly.threads})
    assert threading.get_ident() not in Slowly.threads
    assert 1 + len({("toy", "m"), ("toy", ""), ("spare", "m"), ("spare", "")}) == len(Slowly.threads)


def test_a_reload_reads_them_before_it_takes_over() -> None:
    """
    A runtime that a reload has built knows its models already.
    """
    made = slowly()
    config, registry = made.config, made.registry
    reload = Reload(made, lambda: (config, registry), lambda runtime: None)

    asyncio.run(reload.again())

    assert 1 + 4 == len(Slowly.threads)
    assert threading.get_ident() not in Slowly.threads
