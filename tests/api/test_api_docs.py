"""The description of the API says what the API does."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from api_client import Client

from ccr_core.api import operations
from ccr_core.api.providers import Nothing
from ccr_core.options import class_schema

SCRIPT = Path(__file__).parents[2] / "docs" / "generate_api.py"


@pytest.fixture(scope="module")
def generator() -> Any:
    """The script that writes the routes into the page."""
    spec = importlib.util.spec_from_file_location("generate_api", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_fresh(generator: Any) -> None:
    """
    The routes in the page are what the script would write now.
    """
    assert generator.PAGE.read_text("utf-8") == generator.page(), "run: python docs/generate_api.py"


def test_the_page_names_every_route(generator: Any) -> None:
    """
    None is missing, and none is there that does not exist.
    """
    told = set(re.findall(r"^\* \*\*`([A-Z]+ /api/\S+)`\*\*", generator.PAGE.read_text("utf-8"), re.M))

    assert {str(operation) for operation in operations()} == told


async def test_every_route_is_described_for_programs(client: Client) -> None:
    """
    Method, path, parameters, body and answer of each, in OpenAPI 3.1.
    """
    got = await client.get("/api/openapi.json")

    assert "3.1.0" == got["openapi"]
    described = {f"{method.upper()} {path}" for path, entries in got["paths"].items() for method in entries}
    assert {str(operation) for operation in operations()} == described
    for operation in operations():
        entry = got["paths"][operation.path][operation.method.lower()]
        parameters = {each["name"] for each in entry.get("parameters", ())}
        assert {*re.findall(r"{(\w+)}", operation.path), *operation.query} == parameters
        assert operation.summary == entry["summary"]
        if operation.takes is not None:
            body = entry["requestBody"]["content"]["application/json"]["schema"]
            assert class_schema(operation.takes)["properties"].keys() == body["properties"].keys()
    names = [entry["operationId"] for entries in got["paths"].values() for entry in entries.values()]
    assert len(names) == len(set(names))


async def test_routes_that_do_not_exist_are_not_found(client: Client) -> None:
    """
    A path or a method beside the table answers as an error of the API.
    """
    assert 404 == (await client.http.get("/api/nothing")).status_code
    assert 405 == (await client.http.post("/api/config")).status_code


ODD = (None, True, 0, -1, 1e300, "", "x", "\u0000", [], ["x"], [[]], {}, {"": ""}, {"x": {"y": []}}, "../..", "$HOME")
"""Values that nobody expects."""

APART = {"GET /api/presets/market", "GET /api/doctor"}
"""What asks others, or starts programs."""


async def test_odd_requests_are_refused_and_break_nothing(client: Client) -> None:
    """
    Whatever a body or a parameter holds: the answer is a proper error or fine, never a fault, and nothing is written.
    """
    before = client.text
    for operation in operations():
        if str(operation) in APART:
            continue
        path = re.sub(r"{\w+}", "x", operation.path)
        fields = [field.metadata.get("key", field.name) for field in attrs.fields(operation.takes or Nothing)]
        bodies: list[Any] = [*ODD, *({field: value} for field in fields for value in ODD)]
        bodies += [{**dict.fromkeys(fields, value), "version": await client.version()} for value in ODD]
        for body in bodies if operation.takes is not None else [None]:
            content = None if operation.takes is None else json.dumps(body).encode()
            headers = {"content-type": "application/json"} if content is not None else {}
            got = await client.http.request(operation.method, path, content=content, headers=headers)
            assert got.status_code < 500 or got.status_code == 502, (str(operation), body, got.text)
            if got.status_code >= 400:
                error = got.json()
                assert ("error", True) == (error["type"], bool(error["error"]["message"])), (str(operation), body)
        for name in operation.query:
            for value in ("", "x", "-1", "../..", "\u0000", "9" * 40):
                got = await client.http.request(operation.method, path, params={name: value})
                assert got.status_code < 500, (str(operation), name, value, got.text)
    assert before == client.text
