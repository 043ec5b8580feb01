"""Every recorded answer gives what it says, however its bytes arrive, streamed and whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ccr_plugin_openai_responses import Responses

from ccr_core import Event, UpstreamError, WireReply, assemble, unseal
from ccr_core.testing import as_request, ask, check_dialect, context, decode, recordings, tool

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
ALL = recordings.recordings(ROOT, "openai-responses")
DIALECT = Responses()


def named(name: str) -> recordings.Recording:
    """The one recording whose name ends so."""
    (found,) = (one for one in ALL if one.name.endswith(name))
    return found


def read(name: str, notes: list[tuple[str, Any]] | None = None, **body: Any) -> dict[str, Any]:
    """The message that a recording becomes, for a request with ``body``."""
    recording = named(name)
    request = as_request(ask(**body))
    ctx = context(recording.model, dialect=DIALECT, notes=notes)
    events: list[Event]
    if recording.stream:
        decoded = decode(DIALECT, [recording.response], request, ctx)
        if decoded.error is not None:
            raise decoded.error
        events = decoded.sequenced
    else:
        events = list(DIALECT.decode_body(json.loads(recording.response), request, ctx))
    return assemble(events)


def kinds(message: dict[str, Any]) -> list[str]:
    """The types of the blocks of a message."""
    return [block["type"] for block in message["content"]]


def test_there_are_31_recordings() -> None:
    """The checks below run over all that there is."""
    assert 31 == len(ALL)


@pytest.mark.parametrize("recording", ALL, ids=str)
def test_the_dialect_passes_the_checks_of_the_test_kit(recording: recordings.Recording) -> None:
    """Meaning, cuts, lawful beginnings of what is cut off, the whole twin: the checks for dialects find nothing."""
    check_dialect(DIALECT, [recording])


@pytest.mark.parametrize(
    "name", ["openai-reasoning-encrypted-content.1.stream.0", "openai-responses.thinking-with-tool-calls.0"]
)
def test_encrypted_thinking_is_kept_in_the_signature(name: str) -> None:
    """The encrypted form is that of the finished item, and the id is left out."""
    recording = named(name)
    items = (
        [one["item"] for one in recording.events() if one["type"] == "response.output_item.done"]
        if recording.stream
        else json.loads(recording.response)["output"]
    )
    (item,) = (one for one in items if one["type"] == "reasoning")
    block = read(name)["content"][0]
    opened = unseal(block["signature"])

    assert opened is not None
    assert "openai-responses.api.example" == opened[0]
    assert {"m": recording.model, "t": "reasoning", "s": "summary", "e": item["encrypted_content"]} == opened[1]
    assert "\n\n".join(part["text"] for part in item["summary"]) == block["thinking"]


def test_thinking_without_a_text_is_kept_too() -> None:
    """An encrypted thought that has no summary becomes a block with a signature only, in its place."""
    message = read("model-web-search-tool-stream.0")

    assert ["thinking", "server_tool_use", "web_search_tool_result", "thinking", "text"] == kinds(message)
    assert ["", ""] == [block["thinking"] for block in message["content"] if block["type"] == "thinking"]
    assert all(unseal(block["signature"]) for block in message["content"] if block["type"] == "thinking")


def test_a_web_search_is_a_server_tool_with_citations() -> None:
    """The search keeps its query, the text its citation, and the usage counts the search."""
    message = read("openai-include-raw-annotations-streaming.1")
    call, result, text = message["content"]

    assert ("web_search", {"query": "tallest mountain in Alberta"}) == (call["name"], call["input"])
    assert (call["id"], []) == (result["tool_use_id"], result["content"])
    assert [
        {
            "type": "web_search_result_location",
            "url": "https://www.britannica.com/place/Mount-Columbia?utm_source=openai",
            "title": "Mount Columbia | mountain, Alberta, Canada | Britannica",
            "cited_text": "",
            "encrypted_index": "",
        }
    ] == text["citations"]
    assert {"web_search_requests": 1} == message["usage"]["server_tool_use"]


def test_a_client_that_asked_for_web_search_gets_a_list_of_results() -> None:
    """Sources that only the text names are given as results too, with their titles, where they are waited for."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    message = read("azure-web-search-preview-tool.1", tools=[search])
    results = [block for block in message["content"] if block["type"] == "web_search_tool_result"]

    assert [0, 0, 1] == [len(block["content"]) for block in results]
    assert "While You Were Sleeping: 5 stories you might have missed, Nov 19, 2025" == results[2]["content"][0]["title"]


def test_a_source_without_an_address_is_noted() -> None:
    """A search that asked a data service has no page to name."""
    notes: list[tuple[str, Any]] = []
    read("model-web-search-tool-stream.0", notes)

    assert [("items", "sources without an address: oai-weather")] == notes


def test_code_that_the_provider_ran_is_a_server_tool() -> None:
    """The code is given also where it comes as the argument of a call."""
    call, result, text = read("xai-code-execution-tool.1")["content"]

    assert "code_execution" == call["name"]
    assert call["input"]["code"].startswith("def fibonacci(n):")
    assert ("code_execution_tool_result", call["id"]) == (result["type"], result["tool_use_id"])
    assert "55" == text["text"]


def test_a_call_of_an_mcp_server_is_one() -> None:
    """Name, server, arguments and output are kept; the list of the server's tools leaves a note."""
    notes: list[tuple[str, Any]] = []
    use, result, _ = read("openai-mcp-tool-approval.4.stream", notes)["content"]

    assert ("mcp_tool_use", "create_short_url", "zip1") == (use["type"], use["name"], use["server_name"])
    assert "https://ai-sdk.dev/" == use["input"]["url"]
    assert (use["id"], False) == (result["tool_use_id"], result["is_error"])
    assert "https://zip1.io/UDKvlw" in result["content"][0]["text"]
    assert "the MCP server zip1 has the tools create_short_url" in notes[0][1]


def test_a_request_for_approval_is_told_in_words() -> None:
    """A Messages client cannot grant it, so the user has to know."""
    notes: list[tuple[str, Any]] = []
    message = read("openai-mcp-tool-approval.1.stream", notes)

    assert ["text"] == kinds(message)
    assert "asks for leave to run create_short_url" in message["content"][0]["text"]
    assert "cannot be granted" in notes[-1][1]
    assert "end_turn" == message["stop_reason"]


def test_a_search_for_tools_is_a_server_tool() -> None:
    """Call and result stand before the call of the tool that was found."""
    message = read("openai-native-tool-search-streaming.0")
    call, result, use = message["content"]

    assert ("tool_search_tool_bm25", {"paths": ["get_exchange_rate"]}) == (call["name"], call["input"])
    assert call["id"] == result["tool_use_id"]
    assert [{"type": "tool_reference", "tool_name": "get_exchange_rate"}] == result["content"]["tool_references"]
    assert ("get_exchange_rate", "tool_use") == (use["name"], message["stop_reason"])


def test_a_file_search_leaves_notes() -> None:
    """The Messages API has nothing like it."""
    notes: list[tuple[str, Any]] = []
    read("azure.openai-file-search-tool.1.stream", notes)

    assert ["items", "annotations"] == [key for key, _ in notes]
    assert "ai.pdf" in notes[1][1]


def test_a_shell_call_is_one_of_the_clients_own_tool() -> None:
    """A client that can run commands gets the call in the form that it understands; another gets it as it came."""
    (use,) = (
        block
        for block in read("openai-local-shell-tool.1.stream", tools=[tool("Bash", command={"type": "string"})])[
            "content"
        ]
        if block["type"] == "tool_use"
    )
    message = read("openai-local-shell-tool.1.stream")

    assert ("Bash", {"command": "ls -a ~"}) == (use["name"], use["input"])
    assert "local_shell" == message["content"][-1]["name"]
    assert {"type": "exec", "command": ["ls", "-a", "~"], "env": {}} == message["content"][-1]["input"]
    assert "tool_use" == message["stop_reason"]


def test_a_patch_is_a_call() -> None:
    """The operation is the input."""
    message = read("openai-apply-patch-tool.1.stream")

    assert ("apply_patch", "create_file") == (message["content"][0]["name"], message["content"][0]["input"]["type"])
    assert "tool_use" == message["stop_reason"]


def test_a_call_with_plain_text_takes_the_argument_of_the_clients_tool() -> None:
    """The only argument in the tool's schema is the text; without one it is named input."""
    query = "SELECT * FROM users WHERE age > 25"
    known = read("openai-custom-tool.1.stream", tools=[tool("write_sql", query={"type": "string"})])
    unknown = read("openai-custom-tool.1.stream")

    assert {"query": query} == known["content"][0]["input"]
    assert {"input": query} == unknown["content"][0]["input"]


def test_a_compaction_is_kept_in_a_signature() -> None:
    """It has nothing to show, and must go back."""
    message = read("compact-stateful-mode-stream.2")
    opened = unseal(message["content"][-1]["signature"])

    assert ["text", "thinking"] == kinds(message)
    assert opened is not None
    assert "compaction" == opened[1]["t"]


def test_an_id_that_was_used_before_becomes_another() -> None:
    """Some services number the calls of each answer anew; two calls of one conversation must differ."""
    name = "bedrock-mantle.reused-tool-call-ids-gpt-5-5.1"
    earlier = {"type": "tool_use", "id": "call_0", "name": "first_tool", "input": {}}
    turns = [{"role": "user", "content": "Go."}, {"role": "assistant", "content": [earlier]}]

    assert "call_0" == read(name)["content"][0]["id"]
    assert read(name, messages=turns)["content"][0]["id"].startswith("toolu_")


def test_an_error_inside_a_stream_is_one() -> None:
    """The first of the two reports is taken, with the provider's words, and the kind that its code means."""
    with pytest.raises(UpstreamError, match="You exceeded your current quota") as caught:
        read("openai-error.1.stream")

    assert (429, "billing_error") == (caught.value.status, caught.value.kind)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("openai-error.1", "billing_error", "You exceeded your current quota"),
        ("model-http-error.0", "invalid_request_error", "Invalid 'temperature': decimal below minimum value."),
        ("direct-url-audio-openai-responses-.1", "invalid_request_error", "Please try again with a pdf (param: input)"),
    ],
)
def test_a_refusal_keeps_status_and_words(name: str, kind: str, words: str) -> None:
    """The recorded refusals say what the provider said."""
    recording = named(name)
    error = DIALECT.decode_error(WireReply(status=recording.status, body=recording.response))

    assert (recording.status, kind) == (error.status, error.kind)
    assert words in error.message
    assert ("false" if kind == "billing_error" else None) == error.headers.get("x-should-retry")
