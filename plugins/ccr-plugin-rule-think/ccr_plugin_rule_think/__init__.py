"""The routing rule for hard thinking: ``Router.think``.

That a request *may* think says nothing: Claude Code allows it in every main request.  What counts is that somebody
asked for more: a high effort, plan mode, the word "ultrathink", or a thinking budget of one's own.

Observed with Claude Code (two versions, five months apart):

* new and unknown model names: ``thinking`` is ``adaptive`` in every main request, and ``output_config.effort`` is
  ``medium`` or ``high`` unless the user sets another;
* names of the 4.5 age: ``thinking`` is ``enabled`` with a budget of 31999 in every main request, and no effort;
* sub-agents and helper calls: ``thinking`` is absent or ``disabled`` in the older version, as in main requests or
  absent in the newer;
* plan mode and "ultrathink" show in notes of the client's own: messages with the role ``system``, or (for older
  names) blocks of user messages that begin with ``<system-reminder>``.  A note that plan mode has begun stays in the
  conversation; that it has ended is another note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import attrs

from ccr_core import JSON, Decision, Pass, Request, RouteContext, RuleSpec, blocks_of, hookimpl

EFFORTS = ("low", "medium", "high", "xhigh", "max")
ALWAYS_ON = 31_999
"""The budget that Claude Code gives to models of the 4.5 age when nobody asked for anything."""

_REMINDER = "<system-reminder>"
_PLAN = re.compile(r"^(?:(Plan mode (?:is|still) active)|## Exited Plan Mode|You have exited plan mode)", re.M)
_ULTRA = re.compile(r'^The user included the keyword "ultrathink"', re.M)


@attrs.frozen
class Options:
    """Keys of the ``Router`` section: the route, ``provider,model[,level]`` (empty is unset), and what counts as
    thinking."""

    think: str | None = attrs.field(default=None, metadata={"route": True})
    effort: Literal["low", "medium", "high", "xhigh", "max", "never"] = attrs.field(
        default="xhigh", metadata={"key": "thinkEffort"}
    )
    plan: bool = attrs.field(default=True, metadata={"key": "thinkPlanMode"})


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """``Router.think``, if the request shows that hard thinking is wanted and does not switch thinking off."""
    options: Options = ctx.options
    if not options.think:
        return Pass("Router.think is not set")
    thinking = _object(request.body.get("thinking"))
    kind = thinking.get("type")
    if kind == "disabled":
        return Pass("thinking is disabled")
    effort = _object(request.body.get("output_config")).get("effort")
    why = ""
    if effort in EFFORTS and options.effort != "never" and EFFORTS.index(effort) >= EFFORTS.index(options.effort):
        why = f"the effort is {effort}"
    elif kind == "enabled" and (budget := thinking.get("budget_tokens")) != ALWAYS_ON:
        why = f"thinking is enabled with {budget} tokens"
    elif options.plan and _planning(request.messages):
        why = "plan mode"
    elif any(_ULTRA.search(note) for message in _turn(request.messages) for note in _notes(message)):
        why = "the user wrote ultrathink"
    if why:
        return Decision(options.think, why, scenario="think")
    shown = f"thinking is {kind or 'not asked for'}" + (f", the effort {effort}" if effort else "")
    return Pass(f"{shown}; neither plan mode nor ultrathink" if options.plan else f"{shown}; no ultrathink")


def _object(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}


def _planning(messages: list[JSON]) -> bool:
    """Whether the last note about plan mode says that it is on."""
    for message in reversed(messages):
        for note in reversed([*_notes(message)]):
            found = _PLAN.findall(note)
            if found:
                return bool(found[-1])
    return False


def _turn(messages: list[JSON]) -> Iterator[JSON]:
    """The messages of the present turn, the newest first: back to the last one that the user wrote."""
    for message in reversed(messages):
        yield message
        if message.get("role") == "user" and any(
            block.get("type") == "text" and not _is_reminder(block) for block in _blocks(message)
        ):
            return


def _notes(message: JSON) -> Iterator[str]:
    """What the client itself, not the user, says to the model in a message."""
    role = message.get("role")
    for block in _blocks(message) if role in ("system", "user") else ():
        if block.get("type") == "text" and (role == "system" or _is_reminder(block)):
            yield str(block.get("text") or "")


def _is_reminder(block: JSON) -> bool:
    return str(block.get("text") or "").startswith(_REMINDER)


def _blocks(message: JSON) -> list[JSON]:
    content: Any = message.get("content")
    return blocks_of(content) if isinstance(content, (str, list)) else []


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``think``."""
    yield RuleSpec(name="think", decide=decide, options=Options, summary="Router.think, where hard thinking is wanted.")
