"""Token counts, from the places where services put them."""

from __future__ import annotations

from typing import Any

from ccr_core import JSON


def usage_of(usage: JSON, reasoning_separate: bool) -> JSON:
    """Counts in the form of the Messages API, in which ``input_tokens`` leaves out what was cached.

    ``reasoning_separate``: the service does not count the tokens of thinking among those of the answer.
    """
    prompt = _object(usage, "prompt_tokens_details", "input_tokens_details")
    answer = _object(usage, "completion_tokens_details", "output_tokens_details")
    total = _first(usage.get("prompt_tokens"), usage.get("input_tokens"))
    cached = _first(
        prompt.get("cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),
        usage.get("cached_tokens"),
        usage.get("cache_read_input_tokens"),
    )
    written = _first(
        prompt.get("cache_write_tokens"), prompt.get("cache_creation_tokens"), usage.get("cache_creation_input_tokens")
    )
    output = _first(usage.get("completion_tokens"), usage.get("output_tokens")) or 0
    thinking = _first(answer.get("reasoning_tokens")) or 0
    if reasoning_separate:
        output += thinking
    counts: JSON = {"output_tokens": output}
    if thinking:
        counts["output_tokens_details"] = {"thinking_tokens": min(thinking, output)}
    if total is not None:
        counts["input_tokens"] = max(0, total - (cached or 0) - (written or 0))
    if cached is not None:
        counts["cache_read_input_tokens"] = cached
    if written is not None:
        counts["cache_creation_input_tokens"] = written
    searches = _first(
        _object(usage, "server_tool_use_details", "server_tool_use").get("web_search_requests"),
        usage.get("num_search_queries"),
    )
    if searches:
        counts["server_tool_use"] = {"web_search_requests": searches}
    return counts


def _object(usage: JSON, *names: str) -> JSON:
    for name in names:
        value = usage.get(name)
        if isinstance(value, dict) and value:
            return value
    return {}


def _first(*values: Any) -> int | None:
    for value in values:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return int(value)
    return None
