"""The transformer that switches thinking on or off at services of which nothing is known.

Services with the chat completions format that run open models mostly take one of two fields: ``thinking`` (Z.ai,
Volcengine, Moonshot) or ``enable_thinking`` (DashScope, ModelScope, SiliconFlow), and ignore the other.  Where a preset
says how thinking is asked for, the dialect has written the right field already, and it stays.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ccr_core import Request, Transformer, TransformerSpec, WireRequest, hookimpl

ASKING = frozenset(
    {"thinking", "enable_thinking", "reasoning", "reasoning_effort", "chat_template_kwargs", "disable_reasoning"}
)
"""The fields by which services are asked for thinking."""


@attrs.frozen(kw_only=True)
class Options:
    """Whether the model may think."""

    enable: bool = True
    """`true`: thinking that the client asks for is asked for at the service; `false`: thinking is switched off"""


class Reasoning(Transformer[Options]):
    """Writes both fields where the dialect knows none."""

    _asked: bool | None = None

    def on_request(self, request: Request) -> Request:
        """The request; without the wish to think if that is switched off."""
        if not self.options.enable:
            self._asked = False
            # The effort would ask for thinking again at services that know nothing but levels.
            config = request.body.get("output_config")
            if isinstance(config, dict) and "effort" in config:
                left = {name: value for name, value in config.items() if name != "effort"}
                request = request.with_(output_config=left or ...)
            return request.with_(thinking={"type": "disabled"})
        thinking = request.body.get("thinking")
        if isinstance(thinking, dict):
            self._asked = thinking.get("type") != "disabled"
        return request

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """The request with the wish of the client, or of the configuration, in the two fields."""
        body = wire.body
        if body is None or self._asked is None or "messages" not in body or not ASKING.isdisjoint(body):
            return wire
        kind = "enabled" if self._asked else "disabled"
        return attrs.evolve(wire, body={**body, "thinking": {"type": kind}, "enable_thinking": self._asked})


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``reasoning``."""
    yield TransformerSpec(
        name="reasoning",
        factory=Reasoning,
        options=Options,
        summary="Ask for thinking, or switch it off, with thinking and enable_thinking.",
    )
