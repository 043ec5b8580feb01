"""What is asked on a terminal: the dialog of ``ccr model``, and the questions of presets.

Every change is written at once, by the functions that the plain commands use.  Escape or Ctrl-C goes back to the
menu, and from there to the shell.  The library for prompts is imported by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import questionary
from questionary import Choice

from ccr_core.cli.edits import Draft, draft, save
from ccr_core.cli.model import adding, route_keys, routes, setting, show_routes, targets
from ccr_core.cli.output import fail, paint
from ccr_core.cli.provider import appended, check_name, entry_for, show, try_provider
from ccr_core.entries import FIRST
from ccr_core.errors import CcrError
from ccr_core.presets import Manifest, Question
from ccr_core.routing import LEVELS

T = TypeVar("T")

HINT = "(arrows, or type to search; Ctrl-C: back)"
ORDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class _Back(Exception):
    """Somebody does not want to go on with this."""


def run() -> int:
    """Show the menu until it is left; 0."""
    actions: dict[str, Callable[[Draft], None]] = {
        "Choose the model of a route": _set_route,
        "Add a model": _add_model,
        "Add a provider": _add_provider,
        "Add a provider with an account (OAuth)": _add_account,
        "Try a provider": _try,
    }
    now = draft(create=True)
    while True:
        print()
        show_routes(routes(now))
        print()
        try:
            chosen = _choose("What now?", [*((text, text) for text in actions), ("Done", "")], search=False)
        except _Back:
            return 0
        if not chosen:
            return 0
        try:
            actions[chosen](now)
        except _Back:
            continue
        except CcrError as error:
            fail(error.message)
        now = draft()


def _set_route(now: Draft) -> None:
    present = routes(now)
    tables = [name for name in present if "." in name]
    keys = [key for key, table in route_keys(now).items() if not table]
    names = [*FIRST, *(key for key in keys if key not in FIRST), *tables]
    route = _choose("Which route?", [(f"{name}  {paint_plain(present.get(name))}", name) for name in names])
    models = [(f"{provider} → {model}", f"{provider},{model}") for provider, model in targets(now)]
    if route in present and route != "default":
        models.append(("(no model: remove this route)", "none"))
    if not models:
        raise CcrError("no provider lists a model; add one first")
    target = _choose(f"Which model for {route}?", models)
    if target != "none":
        assert set(ORDER) == LEVELS
        level = _choose(
            "Which level of reasoning?", [("as the client asks", ""), *((each, each) for each in ORDER)], search=False
        )
        target = f"{target},{level}" if level else target
    changes, text = setting(now, route, target)
    save(now, changes)
    print(paint(text, "green"))


def paint_plain(value: str | None) -> str:
    """How the present target of a route is shown in a list."""
    return f"({value})" if value else "(not set)"


def _add_model(now: Draft) -> None:
    if not now.runtime.providers:
        raise CcrError("there is no provider yet; add one first")
    provider = now.provider(_choose("To which provider?", [(name, name) for name in now.runtime.providers]))
    name = _text("What is the model called?", lambda text: _fault(lambda: adding(now, provider, text)))
    save(now, adding(now, provider, name))
    _offer_route(f"{provider.name},{name}")


def _add_provider(now: Draft) -> None:
    taken = {each.name.lower() for each in now.config.providers}
    specs = [each.value for each in now.registry.providers.values() if each.value.name.lower() not in taken]
    listed = [(f"{spec.name}  {spec.summary}", spec.name) for spec in sorted(specs, key=lambda spec: spec.name)]
    name = _choose("Which service?", [("another one, by its address", ""), *listed])
    given: dict[str, Any] = {}
    spec = now.registry.providers[name].value if name else None
    if spec is None:
        name = _text("What shall it be called?", lambda text: _fault(lambda: check_name(now, text)))
        given["url"] = _text("What is the address of its API?", lambda text: None if "://" in text else "https://…")
    if spec is None or spec.key_style != "none":
        given |= _key(spec.key_env if spec is not None else None)
    models = tuple(spec.models) if spec is not None else ()
    if models:
        models = tuple(_several("Which models shall be listed?", models))
    while not models:
        words = _text("Which models? (separated by commas)", lambda text: None if text.strip(" ,") else "at least one")
        models = tuple(word.strip() for word in words.split(",") if word.strip())
    entry = entry_for(now, name, models=models, **given)
    changes, _ = appended(now, entry, as_default=False)
    save(now, changes)
    _offer_route(f"{name},{models[0]}")
    if _confirm("Send a small request to see whether it works?"):
        after = draft()
        show(try_provider(after.runtime, after.provider(name)))


def _key(variable: str | None) -> dict[str, Any]:
    """How the key of a provider is had: from a variable, or typed in."""
    ways = [
        (f"from the environment variable {variable}", "usual") if variable else None,
        ("from an environment variable of another name" if variable else "from an environment variable", "variable"),
        ("typed in now, and kept in the configuration file", "typed"),
    ]
    way = _choose("Where is its key?", [each for each in ways if each is not None], search=False)
    if way == "usual":
        return {}
    if way == "variable":
        return {"key_env": _text("What is the variable called?", lambda text: None if text.strip() else "a name")}
    return {"key": _ask(questionary.password("The key:", validate=lambda text: bool(text) or "it is empty"))}


def _add_account(now: Draft) -> None:
    specs = [each.value for each in now.registry.auth.values()]
    if not specs:
        raise CcrError("no installed plugin offers a sign-in; they are called ccr-plugin-oauth-…")
    sign_in = _choose("Whose account?", [(f"{spec.name}  {spec.summary}", spec.name) for spec in specs])
    spec = now.registry.auth[sign_in].value
    if spec.risk:
        print(paint(spec.risk, "yellow"))
    name = _text("What shall the provider be called?", lambda text: _fault(lambda: check_name(now, text)), sign_in)
    models = tuple(_several("Which models shall be listed?", spec.models)) if spec.models else ()
    while not models:
        words = _text("Which models? (separated by commas)", lambda text: None if text.strip(" ,") else "at least one")
        models = tuple(word.strip() for word in words.split(",") if word.strip())
    changes, _ = appended(now, entry_for(now, name, oauth=sign_in, models=models), as_default=False)
    save(now, changes)
    if spec.interactive:
        print(f"To sign in: ccr auth login {sign_in}")
    _offer_route(f"{name},{models[0]}")


def _try(now: Draft) -> None:
    models = [(f"{provider} → {model}", (provider, model)) for provider, model in targets(now)]
    provider, model = _choose("Which model?", models)
    show(try_provider(now.runtime, now.provider(provider), model))


def _offer_route(target: str) -> None:
    """Ask whether a route shall lead to something new."""
    now = draft()
    if not _confirm(f"Shall a route lead to {target}?"):
        return
    route = _choose("Which route?", [(f"{name}  {paint_plain(routes(now).get(name))}", name) for name in FIRST])
    changes, text = setting(now, route, target)
    save(now, changes)
    print(paint(text, "green"))


# --- the questions of a preset ----------------------------------------------------------------------------------


def answer(manifest: Manifest, question: Question, values: dict[str, Any]) -> None:
    """Ask one question of a preset and put the answer into ``values``, in which what is there is suggested.

    Raises ``click.Abort`` if somebody does not want to go on.
    """
    try:
        values[question.id] = _answer(manifest, question, values)
    except _Back:
        raise click.Abort from None


def _answer(manifest: Manifest, question: Question, values: dict[str, Any]) -> Any:
    text = ": ".join(part for part in (question.label or question.id, question.prompt) if part)
    present = values.get(question.id)
    suggested = question.initial() if present is None else present
    options = [option for option in manifest.options(question, values) if not option.disabled]

    def fault(value: Any) -> bool | str:
        return question.fault(value) or True

    if question.type == "confirm":
        return _ask(questionary.confirm(text, default=bool(suggested)))
    if question.type == "select" and options:
        titles = [(": ".join(filter(None, (each.label, each.description))), each.value) for each in options]
        first = sorted(titles, key=lambda title: title[1] != suggested)
        return _choose(text, first, search=len(first) > 9)
    if question.type == "multiselect" and options:
        shown = [Choice(each.label, value=each.value, checked=each.value in (suggested or ())) for each in options]
        return _ask(questionary.checkbox(text, shown, validate=fault))
    if question.type == "password":
        kept = " (empty: as it is)" if present else ""
        typed = _ask(questionary.password(f"{text}{kept}", validate=lambda typed: fault(typed or present or "")))
        return typed or present or ""

    def converted(typed: str) -> Any:
        return question.convert(typed) if typed or question.type != "number" else None

    def wrong(typed: str) -> bool | str:
        return _fault(lambda: converted(typed)) or fault(converted(typed))

    return converted(
        _ask(
            questionary.text(
                text,
                default=",".join(suggested) if isinstance(suggested, list) else str(suggested),
                validate=wrong,
                multiline=question.type == "editor",
                instruction=f"({question.placeholder})" if question.placeholder else None,
            )
        )
    )


# --- prompts --------------------------------------------------------------------------------------------------


def _choose(question: str, choices: Sequence[tuple[str, T]], search: bool = True) -> T:
    shown = [Choice(title, value=(value,)) for title, value in choices]  # a tuple: an empty text is a value too
    picked = _ask(
        questionary.select(
            question,
            shown,
            use_search_filter=search,
            use_jk_keys=not search,
            instruction=HINT if search else "(arrows; Ctrl-C: back)",
        )
    )
    value: T = picked[0]
    return value


def _several(question: str, names: Sequence[str]) -> list[str]:
    return list(
        _ask(
            questionary.checkbox(
                question,
                [Choice(name, checked=True) for name in names],
                validate=lambda chosen: bool(chosen) or "choose at least one",
            )
        )
    )


def _text(question: str, fault: Callable[[str], str | None], default: str = "") -> str:
    """A line of text; ``fault`` says what is wrong with one, or nothing."""
    answer = _ask(questionary.text(question, default=default, validate=lambda text: fault(text.strip()) or True))
    return str(answer).strip()


def _confirm(question: str) -> bool:
    return bool(_ask(questionary.confirm(question, default=False)))


def _fault(check: Callable[[], object]) -> str | None:
    try:
        check()
    except CcrError as error:
        return error.message
    return None


def _ask(question: Any) -> Any:
    try:
        return question.unsafe_ask()
    except (KeyboardInterrupt, EOFError):
        raise _Back from None
