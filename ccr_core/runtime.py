"""Configuration and plugins, put together once: what serves requests.

A :class:`Runtime` never changes.  A reload builds a new one and swaps the reference; running exchanges keep theirs.
:func:`build` finds every problem before it gives up, each with its place in the configuration.
"""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from ccr_core import observe
from ccr_core.auth import ApiKey, Auth, Key, Token
from ccr_core.catalogue import Facts, ModelFacts, Subject
from ccr_core.config import (
    Config,
    Problems,
    ProviderConfig,
    StepUse,
    did_you_mean,
    home,
    join,
    keys_of,
    mask,
    structure,
    structure_parts,
)
from ccr_core.custom import load_transformers
from ccr_core.dialect import Dialect, Ingress, Target, WireRequest
from ccr_core.errors import AuthError, ConfigError
from ccr_core.messages import JSON
from ccr_core.pages import OfferedPage
from ccr_core.plugins import Contributed, Registry
from ccr_core.routing import DEFAULT_RULES, Route, Rule, find_route
from ccr_core.services import address_of, find_preset
from ccr_core.spec import AuthSpec, CounterSpec, Endpoint, ProviderSpec, ServerToolSpec, TransformerSpec
from ccr_core.tokens import Counter
from ccr_core.transform import Step

if TYPE_CHECKING:
    from ccr_core.accounts import Accounts
    from ccr_core.tokenstore import TokenStore

log = logging.getLogger("ccr.runtime")

DEFAULT_DIALECT = "openai-chat"
"""What a provider speaks when nothing says otherwise."""

ALIAS = "claude-ccr/"
"""What the aliases of models begin with: Claude Code's picker shows only names with "claude" in them."""

SCENARIOS = ("background", "think", "longContext", "longContextThreshold", "webSearch", "image", "custom", "tests")
"""Keys of ``Router`` that every existing configuration may have, whether or not a rule for them is installed."""


@attrs.frozen(kw_only=True)
class Plan:
    """How one model of a provider is spoken to; ``base_url`` where that is not the provider's own."""

    dialect: Dialect
    plugin: str
    options: Any
    steps: tuple[Step, ...]
    base_url: str | None = None


class NotSignedIn(Auth[str]):
    """Stands for a sign-in that no installed plugin offers."""

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """Say what is missing."""
        raise AuthError(f"{self.provider} signs in with {self.options}; install ccr-plugin-oauth-{self.options}")


@attrs.frozen(kw_only=True)
class Provider:
    """A provider of the configuration, ready for use."""

    config: ProviderConfig
    spec: ProviderSpec | None
    base_url: str
    auth: Auth[Any]
    own_keys: tuple[Key, ...]
    plan: Plan
    plans: Mapping[str, Plan]
    known: Facts = attrs.field(factory=Facts)
    accounts: Accounts | None = None
    endpoints: Mapping[tuple[str, str], Plan] = attrs.Factory(dict)
    """Plans by endpoint and model (``""``: any), where the sign-in says by which endpoint a model is reached."""

    tallies: Mapping[str, Tally] = attrs.Factory(dict)
    """Token counters by model that the entry's ``tokenizer`` names; ``""`` is its default."""

    _targets: dict[Any, Target] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    @property
    def name(self) -> str:
        """The name by which routes call it."""
        return self.config.name

    @property
    def keys(self) -> tuple[Key, ...]:
        """The API keys, or the accounts that are signed in, as of now."""
        return self.own_keys if self.accounts is None else self.accounts.keys()

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the configuration lists, else those of the preset."""
        return self.config.models or (self.spec.models if self.spec else ())

    def plan_for(self, model: str) -> Plan:
        """How ``model`` is spoken to."""
        if self.accounts is not None and self.endpoints:
            name = self.auth.endpoint(model, self.accounts.token()) or ""
            plan = self.endpoints.get((name, model)) or self.endpoints.get((name, ""))
            if plan is not None:
                return plan
        return self.plans.get(model, self.plan)

    def facts(self, model: str) -> ModelFacts:
        """What is known of a model: what the configuration says, else what the catalogues do."""
        preset = self.spec.name if self.spec else None
        found = self.known.of(Subject(provider=self.name, model=model, base_url=self.base_url, preset=preset))
        info = self.config.model_info.get(model)
        if info is None:
            return found
        return ModelFacts(context=info.context, max_output=info.max_output, prices=info.prices).over(found)

    def target(self, route: Route) -> Target:
        """The target of an attempt: made once for each route, as nothing in it changes."""
        plan = self.plan_for(route.model)
        key = route.model, route.level, id(plan)
        target = self._targets.get(key)
        if target is None:
            target = self._targets[key] = self._make_target(route, plan)
            if len(self._targets) > 200:
                del self._targets[next(iter(self._targets))]
        return target

    def _make_target(self, route: Route, plan: Plan) -> Target:
        facts = self.facts(route.model)
        made = Target(
            provider=self.name,
            model=route.model,
            base_url=plan.base_url or self.base_url,
            options=plan.options,
            level=route.level,
            max_output=facts.max_output,
            context=facts.context,
            prices=facts.prices,
        )
        return attrs.evolve(made, searches=True) if plan.dialect.searches(made) else made


@attrs.frozen(kw_only=True, eq=False)
class Runtime:
    """All that serves requests, fixed."""

    config: Config
    registry: Registry
    providers: Mapping[str, Provider]
    ingresses: tuple[Contributed[Ingress], ...]
    rules: tuple[Rule, ...]
    server_tools: tuple[OfferedTool, ...]
    watch: observe.Watch
    warnings: tuple[str, ...]
    models: Mapping[str, Sequence[str]]
    public: Mapping[str, Any]
    """The configuration as plain data without secrets, for rules."""

    pages: tuple[OfferedPage, ...] = ()
    """What the server answers beside models."""

    files: tuple[Path, ...] = ()
    """The user's files that this was made from: a change of one asks for a reload."""

    paths: frozenset[str] = frozenset()
    """The paths in the options of plugins, as they are written."""

    _tallies: dict[str, Tally] = attrs.field(factory=dict, init=False)
    _views: dict[str, View] = attrs.field(factory=dict, init=False)

    def find(self, text: str) -> Route | None:
        """The route that ``text`` names (or its alias); see :func:`ccr_core.routing.find_route`."""
        return find_route(text.removeprefix(ALIAS), self.models)

    def view(self, overlay: Mapping[str, Any] | None = None) -> View:
        """The rules and the ``Router`` section they see, with the keys of ``overlay`` over those of the configuration.

        What is wrong in an overlay is told in ``problem``, and the overlay is not used.
        """
        key = repr(sorted(overlay.items())) if overlay else ""
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = self._make_view(overlay or {})
            if len(self._views) > 200:
                del self._views[next(iter(self._views))]
        return view

    def _make_view(self, overlay: Mapping[str, Any]) -> View:
        own = self.config.router
        router = {**own.options, **({"default": own.default} if own.default else {}), **overlay}
        if not overlay:
            return View(rules=self.rules, router=router)
        problems = Problems()
        options = {key: value for key, value in router.items() if key != "default"}
        made = _rule_options(self.registry, options, "Router", problems)
        for place, text in _routes(self.registry, options, "Router"):
            if self.find(text) is None:
                problems.add(place, f'no provider for "{text}"')
        for name, value in overlay.items():
            if name == "default" and (not isinstance(value, str) or self.find(value) is None):
                problems.add("Router.default", f"no provider for {value!r}")
        if problems.items:
            what = "; ".join(f"{item.path}: {item.message}" for item in problems.items)
            log.warning("the Router of a project or session is not used: %s", what)
            return attrs.evolve(self.view(), problem=what)
        return View(
            rules=tuple(attrs.evolve(rule, options=made.get(rule.spec.name)) for rule in self.rules), router=router
        )

    def warm(self) -> None:
        """Look up every model that is configured, and one that nobody knows: now all catalogues are read."""
        for provider in self.providers.values():
            for model in (*provider.models, ""):
                provider.facts(model)

    def window(self, route: Route) -> int | None:
        """The context window of a route's model in tokens, where it is known."""
        provider = self.providers.get(route.provider)
        return provider.facts(route.model).context if provider else None

    def tally(self, model: str, route: Route | None = None) -> Tally:
        """The counter for a model: what the provider's ``tokenizer`` says, else the one with the most specific glob."""
        if route is not None:
            provider = self.providers.get(route.provider)
            own = provider.tallies.get(route.model) or provider.tallies.get("") if provider is not None else None
            if own is not None:
                return own
            model = route.model
        tally = self._tallies.get(model)
        if tally is None:
            matches = [
                (len(glob.replace("*", "")), contributed)
                for contributed in self.registry.counters.values()
                for glob in contributed.value.models
                if fnmatch.fnmatchcase(model.lower(), glob.lower())
            ]
            best = max(matches, key=lambda match: match[0])[1] if matches else None
            tally = Tally("", None, None) if best is None else Tally(best.value.name, best, None)
            self._tallies[model] = tally
            if len(self._tallies) > 500:
                del self._tallies[next(iter(self._tallies))]
        return tally


@attrs.frozen
class OfferedTool:
    """A tool that the router may run, its checked options, and who contributes it."""

    spec: ServerToolSpec
    options: Any
    plugin: str


@attrs.frozen
class View:
    """The rules as one project or session sees them."""

    rules: tuple[Rule, ...]
    router: Mapping[str, Any]
    problem: str | None = None
    counts: bool = attrs.field(init=False)
    """Whether a rule needs the number of tokens."""

    @counts.default
    def _counts(self) -> bool:
        return any(map(_needs_tokens, self.rules))


def _needs_tokens(rule: Rule) -> bool:
    needs = rule.spec.needs
    try:
        return "tokens" in (needs(rule.options) if callable(needs) else needs)
    except Exception:
        log.warning("rule %s (plugin %s) failed in needs", rule.spec.name, rule.plugin, exc_info=True)
        return False


@attrs.frozen
class Tally:
    """A choice of token counter; ``name`` tells equal choices."""

    name: str
    contributed: Contributed[CounterSpec] | None
    options: Any

    def make(self) -> Counter:
        """The counter; the estimate if it cannot be made, which is logged."""
        if self.contributed is None:
            return Counter()
        spec = self.contributed.value
        try:
            return spec.factory() if spec.options is None else spec.factory(self.options)
        except Exception:
            plugin = self.contributed.plugin
            log.warning("token counter %s (plugin %s) failed; counts are estimates", spec.name, plugin, exc_info=True)
            return Counter()


def build(config: Config, registry: Registry, *, watch: bool = True, paths: Collection[str] | None = None) -> Runtime:
    """Put ``config`` and ``registry`` together; raise ``ConfigError`` with every problem and its place.

    Without ``watch`` no observer is made: for a look at the configuration, which must open no files.  ``paths`` are the
    only ones that options may hold (absent: any); another one is a ``PathProblem``, and nothing is made with it.
    """
    problems = Problems(only=paths)
    warnings = list(config.warnings)
    transformers = {
        name.casefold(): contributed
        for contributed in registry.transformers.values()
        for name in (contributed.value.name, *contributed.value.aliases)
    }
    own: dict[str, Mapping[str, Any]] = {}
    for name, (contributed, custom) in load_transformers(config.transformers, problems).items():
        if name in transformers:
            warnings.append(f"{custom.path} replaces the transformer {name} of {transformers[name].plugin}")
        transformers[name] = contributed
        own[name] = custom.options
    known = _Known(transformers, own)
    everywhere = _steps(config.transformer.use, known, registry, problems)
    providers: dict[str, Provider] = {}
    logins: dict[str, Accounts] = {}
    catalogues = sorted(registry.catalogues.items())
    known_facts = Facts((name, str(item.plugin), item.value.factory) for name, item in catalogues)
    for entry in config.providers:
        if entry.enabled:
            sign_in = _sign_in_of(entry) if entry.auth_type == "oauth" else _implied_sign_in(entry, known)
            provider = (
                _with_accounts(entry, sign_in, config, logins, everywhere, known, registry, problems)
                if sign_in is not None and sign_in in registry.auth
                else _provider(entry, everywhere, known, registry, problems, warnings)
            )
            if provider is not None:
                providers[provider.name] = attrs.evolve(provider, known=known_facts)
    warnings += _older_plugins(config, registry)
    rules = _rules(config, registry, problems, warnings)
    models = {name: provider.models for name, provider in providers.items()}
    default = config.router.default
    if default is not None and find_route(default, models) is None:
        problems.add("Router.default", f'no provider for "{default}"; known: {", ".join(models) or "none"}')
    for place, text in _routes(registry, config.router.options, config.router.where):
        if find_route(text, models) is None:
            problems.add(place, f'no provider for "{text}"; known: {", ".join(models) or "none"}')
    public = mask(dict(config.resolved))
    if config.custom_router_path is not None:
        public["CUSTOM_ROUTER_PATH"] = str(config.custom_router_path)
    if config.rewrite_system_prompt is not None:
        public["REWRITE_SYSTEM_PROMPT"] = str(config.rewrite_system_prompt)
    tools = tuple(
        OfferedTool(spec, options, plugin)
        for spec, options, plugin in _chosen(
            "server_tools", config.server_tools, registry.server_tools, True, registry, problems
        )
    )
    pages = tuple(
        OfferedPage(spec, options, plugin)
        for spec, options, plugin in _chosen("pages", config.pages, registry.pages, True, registry, problems)
    )
    watchers = _observers(config, registry, problems, watch)
    problems.raise_if_any(config.source)
    for rule in rules:
        warnings += _checked(rule, public)
    if not registry.ingresses:
        warnings.append("no plugin offers an ingress: the router answers no model requests" + registry.failed())
    return Runtime(
        config=config,
        registry=registry,
        providers=providers,
        ingresses=tuple(registry.ingresses.values()),
        rules=rules,
        server_tools=tools,
        watch=observe.Watch(watchers),
        warnings=tuple(warnings),
        models=models,
        public=public,
        pages=pages,
        files=files_of(config),
        paths=frozenset(problems.paths),
    )


def _routes(registry: Registry, table: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    """Every route that the options of rules hold in a ``Router`` section, with its place."""
    for contributed in registry.rules.values():
        for field in attrs.fields(contributed.value.options) if contributed.value.options else ():
            key = field.metadata.get("key", field.name)
            if field.metadata.get("route"):
                value = table.get(key)
                for place, text in (
                    [(join(where, key, name), text) for name, text in value.items()]
                    if isinstance(value, Mapping)
                    else [(join(where, key), value)]
                ):
                    if isinstance(text, str) and text.strip():
                        yield place, text


def _checked(rule: Rule, public: Mapping[str, Any]) -> list[str]:
    """What a rule warns of."""
    try:
        found = rule.spec.check(rule.options, public) if rule.spec.check else ()
        return [f"rule {rule.spec.name}: {text}" for text in found]
    except Exception as error:
        return [f"rule {rule.spec.name} (plugin {rule.plugin}) failed in check: {type(error).__name__}: {error}"]


def files_of(config: Config) -> tuple[Path, ...]:
    """The user's files that a runtime is made from."""
    files = (config.source, config.custom_router_path, *(entry.path for entry in config.transformers))
    return tuple(file.expanduser() for file in files if file is not None)


@attrs.frozen
class _Known:
    """The transformers that a configuration may name, in lower case, and the default options of those from files."""

    transformers: Mapping[str, Contributed[TransformerSpec]]
    defaults: Mapping[str, Mapping[str, Any]]


def _steps(
    uses: Sequence[StepUse],
    known: _Known,
    registry: Registry,
    problems: Problems,
) -> tuple[Step, ...]:
    steps = []
    for use in uses:
        contributed = known.transformers.get(use.name.casefold())
        if contributed is None:
            problems.add(
                use.where,
                f'no transformer "{use.name}"{did_you_mean(use.name, known.transformers)}{registry.failed()}',
            )
            continue
        spec = contributed.value
        given = {**known.defaults.get(use.name.casefold(), {}), **use.options}
        options: Any = None
        if spec.options is dict:
            options = given
        elif spec.options is not None:
            options = structure(spec.options, given, f"{use.where}[1]", problems, f"option of {spec.name}")
        elif given:
            problems.add(f"{use.where}[1]", f"{spec.name} takes no options")
        steps.append(Step(spec, options, use.where, str(contributed.plugin)))
    return tuple(steps)


def _provider(
    entry: ProviderConfig,
    everywhere: tuple[Step, ...],
    known: _Known,
    registry: Registry,
    problems: Problems,
    warnings: list[str],
) -> Provider | None:
    own = _steps(entry.transformer.use, known, registry, problems)
    implying = (step.spec.dialect for step in (*everywhere, *own) if step.spec.dialect)
    said = entry.dialect or next(implying, None) or _by_url(entry.api_base_url or "", registry)
    found = find_preset(entry, said, registry)
    spec = found.value if found else None
    base_url = address_of(entry, spec)
    if not base_url:
        missing = (
            f"missing: the address of {found.value.name} is your own; the README of {found.plugin} says what it is"
            if found
            else f'missing, and no plugin knows a provider "{entry.name}"'
            f"{did_you_mean(entry.name, registry.providers)}{registry.failed()}"
        )
        problems.add(join(entry.where, "api_base_url"), missing)
        return None
    implied: tuple[Step, ...] = ()
    if spec is not None:
        uses = [
            StepUse(name=step, where=f"preset {spec.name}")
            if isinstance(step, str)
            else StepUse(name=step[0], options=step[1], where=f"preset {spec.name}")
            for step in spec.transformers
        ]
        named = {use.name.casefold() for use in entry.transformer.use}
        implied = _steps([use for use in uses if use.name.casefold() not in named], known, registry, problems)
    common = (*everywhere, *implied, *own)
    plan = _plan(entry, spec, base_url, common, registry, problems)
    plans = {}
    for model, uses_of_model in entry.transformer.models.items():
        steps = _steps(uses_of_model, known, registry, problems)
        made = _plan(entry, spec, base_url, (*common, *steps), registry, problems)
        if made is not None:
            plans[model] = made
    if plan is None:
        return None
    auth, keys = _auth(entry, spec, plan.dialect, problems, warnings)
    tallies = _tallies(entry, registry, problems)
    return Provider(
        config=entry, spec=spec, base_url=base_url, auth=auth, own_keys=keys, plan=plan, plans=plans, tallies=tallies
    )


# Providers with accounts.


def _sign_in_of(entry: ProviderConfig) -> str:
    return entry.oauth_provider or entry.name


def _implied_sign_in(entry: ProviderConfig, known: _Known) -> str | None:
    """The way to sign in that a transformer of the entry implies."""
    if entry.auth_type is not None:
        return None
    named = (known.transformers.get(use.name.casefold()) for use in entry.transformer.use)
    return next((each.value.auth for each in named if each is not None and each.value.auth is not None), None)


def make_auth(
    name: str, config: Config, registry: Registry, problems: Problems, over: Mapping[str, Any] | None = None
) -> Auth[Any] | None:
    """The way to sign in that is called ``name``, with its options (``oauth.<name>``, and ``over`` over them).

    ``None`` after a problem.
    """
    contributed = registry.auth.get(name)
    if contributed is None:
        problems.add("oauth", f'no sign-in "{name}"{did_you_mean(name, registry.auth)}{registry.failed()}')
        return None
    spec = contributed.value
    table = config.resolved.get("oauth") or {}
    given = table.get(name) if isinstance(table, Mapping) else None
    options = structure(
        spec.options, {**(given or {}), **(over or {})}, join("oauth", name), problems, f"option of {name}"
    )
    return None if options is None else spec.factory(options, name)


def make_store(config: Config, registry: Registry, problems: Problems) -> TokenStore | None:
    """The token store that ``token_store`` chooses, ``file`` unless it is set; ``None`` after a problem.

    Another one is never taken in its place: accounts would seem to be gone.
    """
    given = config.resolved.get("token_store") or "file"
    table = {"type": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {}
    name = table.pop("type", "file")
    contributed = registry.token_stores.get(str(name))
    if contributed is None:
        near = did_you_mean(str(name), registry.token_stores)
        problems.add(
            "token_store", f'no token store "{name}"{near}{registry.failed()}; install ccr-plugin-store-{name}'
        )
        return None
    spec = contributed.value
    options = None
    if spec.options is not None:
        options = structure(spec.options, table, "token_store", problems, f"option of {name}")
        if options is None:
            return None
    elif table:
        problems.add("token_store", f"the token store {name} takes no options")
    try:
        return spec.factory(options, home())
    except Exception as error:
        text = error.message if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        problems.add("token_store", f"{name} (plugin {contributed.plugin}) cannot be used: {text}")
        return None


def _with_accounts(
    entry: ProviderConfig,
    name: str,
    config: Config,
    logins: dict[str, Accounts],
    everywhere: tuple[Step, ...],
    known: _Known,
    registry: Registry,
    problems: Problems,
) -> Provider | None:
    """A provider whose requests are signed with an account of the way to sign in that is called ``name``."""
    from ccr_core.accounts import Accounts
    from ccr_core.login import Http

    spec = registry.auth[name].value
    own = _steps(entry.transformer.use, known, registry, problems)
    over: dict[str, Any] = {}
    if spec.address_options is not None and entry.api_base_url:
        over |= spec.address_options(entry.api_base_url)
    for step in own:
        if step.spec.auth == name and step.spec.auth_options is not None:
            over |= step.spec.auth_options(step.options)
    login = f"{name} {sorted(over.items())!r}" if over else name
    if login not in logins:
        auth, store = make_auth(name, config, registry, problems, over), make_store(config, registry, problems)
        if auth is None or store is None:
            return None
        logins[login] = Accounts(spec, auth, store, http=lambda proxy: Http(proxy or config.proxy_url, config.no_proxy))
    accounts = logins[login]
    dialect = entry.dialect or next((step.spec.dialect for step in own if step.spec.dialect is not None), None)
    found = _addresses(entry, spec, accounts.auth.options, dialect, registry, problems)
    if found is None:
        return None
    plans: dict[tuple[str, str], Plan] = {}
    for endpoint, url in found:
        named = {use.name.casefold() for use in entry.transformer.use}
        uses = [
            StepUse(name=step, where=f"sign-in {name}")
            if isinstance(step, str)
            else StepUse(name=step[0], options=step[1], where=f"sign-in {name}")
            for step in endpoint.transformers
        ]
        implied = _steps([use for use in uses if use.name.casefold() not in named], known, registry, problems)
        like = ProviderSpec(name=name, base_url=url, dialect=endpoint.dialect, options=endpoint.options)
        entry_here = attrs.evolve(entry, dialect=endpoint.dialect)
        for model, more in {"": (), **entry.transformer.models}.items():
            steps = (*everywhere, *implied, *own, *_steps(more, known, registry, problems))
            plan = _plan(entry_here, like, url, steps, registry, problems)
            if plan is None:
                return None
            plans[endpoint.name, model] = attrs.evolve(plan, base_url=url)
    first, url = found[0]
    return Provider(
        config=entry,
        spec=ProviderSpec(name=name, base_url=url, dialect=first.dialect, models=spec.models),
        base_url=url,
        auth=accounts.auth,
        own_keys=(),
        plan=plans[first.name, ""],
        plans={model: plan for (endpoint, model), plan in plans.items() if endpoint == first.name and model},
        tallies=_tallies(entry, registry, problems),
        accounts=accounts,
        endpoints=plans if len(found) > 1 else {},
    )


def _speaks(name: str, wanted: str, registry: Registry) -> bool:
    """Whether the dialect ``name`` is ``wanted``, or a service's own form of it."""
    own, asked = registry.dialects.get(name), registry.dialects.get(wanted)
    return name == wanted or (own is not None and asked is not None and isinstance(own.value, type(asked.value)))


def _addresses(
    entry: ProviderConfig, spec: AuthSpec, options: Any, dialect: str | None, registry: Registry, problems: Problems
) -> list[tuple[Endpoint, str]] | None:
    """By which endpoints the entry reaches the service, and where these are, the usual one first."""
    from ccr_core.accounts import allowed, legacy

    endpoints = [each for each in spec.endpoints if dialect is None or _speaks(each.dialect, dialect, registry)]
    if not endpoints:
        speaks = ", ".join(dict.fromkeys(each.dialect for each in spec.endpoints))
        problems.add(entry.where, f"{spec.name} speaks {speaks}, and not {dialect}")
        return None
    base = (options.api_base or spec.base_url).rstrip("/")
    given = (entry.api_base_url or "").rstrip("/")
    standard = {spec.base_url.rstrip("/") + each.path: each for each in endpoints}
    if not given or legacy(spec, given) or given == spec.base_url.rstrip("/"):
        return [(each, base + each.path) for each in endpoints]
    if given in standard:
        return [(standard[given], base + standard[given].path)]
    if not allowed(spec, given) and not options.allow_custom_host:
        problems.add(
            join(entry.where, "api_base_url"),
            f"the tokens of {spec.name} are not sent there; leave it out, or set oauth.{spec.name}.allow_custom_host",
        )
        return None
    if not urlsplit(given).path:
        return [(each, given + each.path) for each in endpoints]
    by_url = _by_url(given, registry)
    return [(next((each for each in endpoints if each.dialect == by_url), endpoints[0]), given)]


def _plan(
    entry: ProviderConfig,
    spec: ProviderSpec | None,
    base_url: str,
    steps: tuple[Step, ...],
    registry: Registry,
    problems: Problems,
) -> Plan | None:
    implying = [step for step in steps if step.spec.dialect is not None]
    for step in implying[1:]:
        if step.spec.dialect != implying[0].spec.dialect:
            problems.add(
                step.where,
                f"{step.spec.name} speaks {step.spec.dialect}, but {implying[0].spec.name} at "
                f"{implying[0].where} speaks {implying[0].spec.dialect}; a provider speaks one format",
            )
            return None
    name = entry.dialect or (implying[0].spec.dialect if implying else None) or _by_url(base_url, registry)
    name = name or (spec.dialect if spec else None) or DEFAULT_DIALECT
    contributed = registry.dialects.get(name)
    if contributed is None:
        where = join(entry.where, "dialect") if entry.dialect else entry.where
        problems.add(where, f'no dialect "{name}"{did_you_mean(name, registry.dialects)}{registry.failed()}')
        return None
    dialect = contributed.value
    options = None
    given: Mapping[str, Any] = spec.options if spec and spec.dialect == name else {}
    for step in steps:
        offered = step.spec.dialect_options
        given = _merged(given, (offered(step.options) if callable(offered) else offered).get(name, {}))
    given = _merged(given, entry.options)
    if dialect.options is not None:
        options = structure(dialect.options, given, join(entry.where, "options"), problems, f"option of {name}")
    elif given:
        problems.add(join(entry.where, "options"), f"the dialect {name} takes no options")
    return Plan(dialect=dialect, plugin=str(contributed.plugin), options=options, steps=steps)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``, table by table: setting one option of a table keeps its others."""
    both = {key for key, value in over.items() if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)}
    return {**base, **over, **{key: _merged(base[key], over[key]) for key in both}}


def _by_url(base_url: str, registry: Registry) -> str | None:
    """The dialect whose endpoints end as this URL does."""
    path = urlsplit(base_url).path.rstrip("/")
    for contributed in registry.dialects.values():
        if any(path.endswith(ending) for ending in contributed.value.endpoints):
            return contributed.value.name
    return None


def _auth(
    entry: ProviderConfig, spec: ProviderSpec | None, dialect: Dialect, problems: Problems, warnings: list[str]
) -> tuple[Auth[Any], tuple[Key, ...]]:
    if entry.auth_type == "oauth":
        name = _sign_in_of(entry)
        warnings.append(f"{entry.where}: {entry.name} signs in with {name}; no installed plugin offers that")
        return NotSignedIn(name, entry.name), ()
    style = (spec.key_style if spec else None) or dialect.key_style
    given = [(item.key, item.weight) for item in entry.api_keys]
    if not given and entry.api_key is not None:
        given = [(entry.api_key, 1.0)]
    if not given:
        found = os.environ.get(spec.key_env) if spec is not None and spec.key_env is not None else None
        if style == "none":
            found = ""
        if found is None:
            hint = f" (or set {spec.key_env})" if spec and spec.key_env else ""
            warnings.append(f"{entry.where}: {entry.name} has no api_key{hint}; its requests will be refused")
            return ApiKey(style, entry.name), ()
        given = [(found, 1.0)]
    if spec is not None and spec.key_advice is not None:
        advice = filter(None, (spec.key_advice(key) for key, _ in given))
        warnings += [f"{entry.where}: {entry.name}: {words}" for words in dict.fromkeys(advice)]
    keys = tuple(
        Key(id=f"key {place}", token=Token(access=key), weight=weight)
        for place, (key, weight) in enumerate(given, start=1)
    )
    return ApiKey("bearer" if style == "none" else style, entry.name), keys


@attrs.frozen
class _Tokenizer:
    """A ``tokenizer`` block; the tables hold the ``type`` of a counter and its options."""

    default: Mapping[str, Any] | None = None
    models: Mapping[str, Mapping[str, Any]] = attrs.Factory(dict)


def _tallies(entry: ProviderConfig, registry: Registry, problems: Problems) -> dict[str, Tally]:
    """The counters that a ``tokenizer`` block names: ``{"default": {"type": …}, "models": {"<model>": {…}}}``."""
    where = join(entry.where, "tokenizer")
    block = structure(_Tokenizer, entry.tokenizer or {}, where, problems) or _Tokenizer()
    tables = {"": (block.default, join(where, "default"))} if block.default is not None else {}
    tables |= {model: (table, join(where, "models", model)) for model, table in block.models.items()}
    tallies = {}
    for model, (table, at) in tables.items():
        kind = table.get("type")
        contributed = registry.counters.get(kind) if isinstance(kind, str) else None
        if contributed is None:
            known = ", ".join(sorted(registry.counters)) or "none"
            what = "missing" if kind is None else f'no token counter "{kind}"'
            near = did_you_mean(str(kind), registry.counters) or f"; known: {known}"
            problems.add(join(at, "type"), f"{what}{near}{registry.failed()}")
            continue
        given = {key: value for key, value in table.items() if key not in ("type", "fallback")}
        options = None
        if contributed.value.options is not None:
            options = structure(contributed.value.options, given, at, problems, f"option of {kind}")
        elif given:
            problems.add(at, f"{kind} takes no options")
        tallies[model] = Tally(f"{kind} {sorted(given.items())!r}", contributed, options)
    return tallies


def _rules(config: Config, registry: Registry, problems: Problems, warnings: list[str]) -> tuple[Rule, ...]:
    chosen: list[Any] = []
    if config.router.rules is None:
        chosen = [registry.rules[name] for name in DEFAULT_RULES if name in registry.rules]
    else:
        for place, name in enumerate(config.router.rules):
            contributed = registry.rules.get(name)
            if contributed is None:
                problems.add(
                    f"Router.rules[{place}]",
                    f'no rule "{name}"{did_you_mean(name, registry.rules)}{registry.failed()}',
                )
            else:
                chosen.append(contributed)
    options = _rule_options(registry, config.router.options, config.router.where, problems)
    used = {key for item in registry.rules.values() if item.value.options for key in keys_of(item.value.options)}
    for key in config.router.options:
        if key in SCENARIOS and key not in used and key not in ("custom", "tests"):
            warnings.append(f"Router.{key} is set, but no installed rule uses it")
    return tuple(Rule(item.value, options.get(item.value.name), str(item.plugin)) for item in chosen)


def _rule_options(registry: Registry, table: Mapping[str, Any], where: str, problems: Problems) -> dict[str, Any]:
    """What each rule takes out of a ``Router`` section, by the rule's name."""
    with_options = [
        (contributed.value.name, contributed.value.options)
        for contributed in registry.rules.values()
        if contributed.value.options is not None
    ]
    made = structure_parts([cls for _, cls in with_options], table, where, problems, also=SCENARIOS)
    return dict(zip([name for name, _ in with_options], made, strict=True))


def _chosen(
    key: str,
    given: Mapping[str, Mapping[str, Any] | bool],
    offered: Mapping[str, Contributed[Any]],
    on: bool,
    registry: Registry,
    problems: Problems,
) -> list[tuple[Any, Any, str]]:
    """What of ``offered`` takes part: all that do so by default, less what ``given`` switches off; with options."""
    for name in given:
        if name not in offered:
            problems.add(f"{key}.{name}", f'nothing is called "{name}"{did_you_mean(name, offered)}{registry.failed()}')
    chosen = []
    for name, contributed in offered.items():
        spec = contributed.value
        table = given.get(name, spec.default and on)
        if table is False:
            continue
        options = None
        if spec.options is not None:
            own: JSON = dict(table) if isinstance(table, Mapping) else {}
            options = structure(spec.options, own, f"{key}.{name}", problems, f"option of {name}")
        chosen.append((spec, options, str(contributed.plugin)))
    return chosen


OLDER_PLUGINS: Mapping[str, str] = {"token-speed": "session-stats"}
"""What the ``plugins`` of older configurations name → the observer that does it."""


def _older_plugins(config: Config, registry: Registry) -> list[str]:
    """What the user should know of an older ``plugins`` section."""
    warnings = []
    for place, use in enumerate(config.plugins):
        name = OLDER_PLUGINS.get(use.name)
        if use.enabled and name not in registry.observers:
            needs = f'; the observer "{name}" does this and is not installed' if name else ""
            warnings.append(f'plugins[{place}]: "{use.name}" has no effect{needs}')
        elif use.enabled and use.options:
            warnings.append(f"plugins[{place}].options have no effect; those of observers.{name} have")
    return warnings


def _observers(
    config: Config, registry: Registry, problems: Problems, make: bool
) -> list[tuple[str, observe.Observer, frozenset[type]]]:
    given = dict(config.observers)
    for use in config.plugins:
        name = OLDER_PLUGINS.get(use.name)
        if use.enabled and name is not None and name in registry.observers:
            given.setdefault(name, True)
    chosen = _chosen("observers", given, registry.observers, config.log, registry, problems)
    made: list[tuple[str, observe.Observer, frozenset[type]]] = []
    if problems.items or not make:
        # Not made while something is wrong: an observer may open files.
        return made
    for spec, options, plugin in chosen:
        try:
            wants = spec.wants(options) if callable(spec.wants) else spec.wants
            made.append((spec.name, spec.factory(options, home()), wants))
        except Exception as error:
            log.warning("observer %s (plugin %s) is off: %s: %s", spec.name, plugin, type(error).__name__, error)
    return made


def used(runtime: Runtime) -> set[str]:
    """Names of the plugins of which the configuration uses something."""
    config, registry = runtime.config, runtime.registry
    watched = [
        each.value
        for name, each in registry.observers.items()
        if config.observers.get(name, each.value.default and config.log) is not False
    ]
    plans = [plan for provider in runtime.providers.values() for plan in (provider.plan, *provider.plans.values())]
    in_use: list[Any] = [
        *(plan.dialect for plan in plans),
        *(step.spec for plan in plans for step in plan.steps),
        *(provider.spec for provider in runtime.providers.values()),
        *(rule.spec for rule in runtime.rules),
        *(each.value for each in runtime.ingresses),
        *(each.value for each in registry.counters.values()),
        *(each.value for each in registry.catalogues.values()),
        *(tool.spec for tool in runtime.server_tools),
        *(page.spec for page in runtime.pages),
        *(provider.accounts.spec for provider in runtime.providers.values() if provider.accounts is not None),
        *watched,
    ]
    identities = {id(value) for value in in_use}
    kinds = (
        registry.dialects,
        registry.ingresses,
        registry.providers,
        registry.transformers,
        registry.rules,
        registry.counters,
        registry.catalogues,
        registry.server_tools,
        registry.pages,
        registry.auth,
        registry.observers,
    )
    offered: list[Any] = [each for kind in kinds for each in kind.values()]
    return {each.plugin.name for each in offered if id(each.value) in identities}
