"""Presets over the API: fetched, looked at, agreed to, installed, answered and removed; never code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest
from api_client import MASK, Client

from ccr_core.presets import presets_folder
from ccr_core.testing.loopback import Vendor

MANIFEST: dict[str, Any] = {
    "name": "team",
    "version": "1.2.0",
    "description": "What the team uses.",
    "Providers": [
        {
            "name": "acme",
            "api_base_url": "https://api.acme.example/v1/chat/completions",
            "api_key": "#{key}",
            "models": ["large", "small"],
        }
    ],
    "Router": {"default": "acme,#{model}"},
    "schema": [
        {"id": "key", "type": "password", "label": "API key"},
        {"id": "model", "type": "select", "options": ["large", "small"], "defaultValue": "large"},
        {"id": "limit", "type": "number", "min": 1, "max": 9, "required": False},
        {"id": "note", "required": False, "when": {"field": "model", "value": "small"}},
    ],
}


def packed(manifest: Mapping[str, Any], **files: str) -> bytes:
    """A zip file with a preset."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("team/manifest.json", json.dumps(manifest))
        for name, text in files.items():
            archive.writestr(f"team/{name.replace('__', '.')}", text)
    return stream.getvalue()


async def upload(client: Client, data: bytes, status: int = 200, name: str = "team") -> Any:
    path = f"/api/presets/fetch?name={name}"
    return await client.ask("POST", path, status=status, content=data, headers={"content-type": "application/zip"})


async def installed(client: Client, manifest: Any = MANIFEST, **values: Any) -> Any:
    """The preset `team`, installed."""
    client.secrets.append("key-of-acme-0001")
    seen = await upload(client, packed(manifest))
    accept = [danger["id"] for danger in seen["dangers"]]
    body = {"id": seen["id"], "values": {"key": "key-of-acme-0001", **values}, "accept": accept}
    client.app.presets.folder = presets_folder(client.path.parent)
    return await client.ask("POST", "/api/presets/install", body)


def manifest(client: Client, name: str = "team") -> Any:
    return json.loads((client.path.parent / "presets" / name / "manifest.json").read_text())


async def test_what_is_fetched_is_shown_and_not_installed(client: Client) -> None:
    """
    Metadata, questions in their order, what it would do, its files.
    """
    seen = await upload(client, packed(MANIFEST, README__md="hello"))

    assert ("team", "1.2.0", False) == (seen["name"], seen["metadata"]["version"], seen["installed"])
    key, model, limit, note = seen["questions"]
    assert ("key", "password", "API key", True, True) == tuple(
        key[name] for name in ("id", "type", "label", "required", "secret")
    )
    assert (["large", "small"], "large") == ([option["value"] for option in model["options"]], model["default"])
    assert (1, 9, False) == (limit["minimum"], limit["maximum"], note["visible"])
    assert [{"field": "model", "operator": "eq", "value": "small"}] == note["when"]
    assert ["sends requests, and the keys given for them, to api.acme.example"] == [
        danger["text"] for danger in seen["dangers"]
    ]
    assert {"README.md", "manifest.json"} == set(seen["files"])
    assert [] == (await client.get("/api/presets"))["presets"]


async def test_it_is_installed_and_served_at_once(client: Client) -> None:
    """
    With the answers, after what it does was agreed to.
    """
    done = await installed(client)

    assert (True, None, "/preset/team") == (done["served"], done["problem"], done["path"])
    assert {"key": "key-of-acme-0001", "model": "large", "limit": 0, "note": ""}.items() >= manifest(client)[
        "userValues"
    ].items()
    assert "acme,large" == client.app.presets.engine("team").runtime.config.router.default
    (row,) = (await client.get("/api/presets"))["presets"]
    assert ("team", 4, [], True) == (row["name"], row["questions"], row["missing"], row["served"])
    assert [] == [path.name for path in presets_folder(client.path.parent).iterdir() if path.name.startswith(".")]


async def test_everything_has_to_be_agreed_to(client: Client) -> None:
    """
    Without the id of each thing that it does nothing is installed, and the list comes with the refusal.
    """
    seen = await upload(client, packed(MANIFEST))

    body = {"id": seen["id"], "values": {"key": "k"}}
    error = (await client.ask("POST", "/api/presets/install", body, 400))["error"]

    assert seen["dangers"] == error["dangers"]
    assert [] == (await client.get("/api/presets"))["presets"]


@pytest.mark.parametrize(
    "more",
    [
        {"transformers": [{"path": "evil.py"}]},
        {"CUSTOM_ROUTER_PATH": "evil.py"},
        {"REWRITE_SYSTEM_PROMPT": "evil.py"},
        {"StatusLine": {"default": {"modules": [{"type": "script", "scriptPath": "evil.py"}]}}},
        {"claudeCodeSettings": {"hooks": {}}},
        {"claudeCodeSettings": {"env": {"NODE_OPTIONS": "--require ./evil.js"}}},
        {"claudeCodeSettings": {"env": {"CLAUDE_CODE_SHELL_PREFIX": "evil"}}},
    ],
)
async def test_a_preset_with_code_is_not_installed_from_here(client: Client, more: Any) -> None:
    """
    Even if all is agreed to; the command that does it is told.
    """
    ran = client.path.parent / "ran"
    seen = await upload(client, packed({**MANIFEST, **more}, evil__py=f"open({str(ran)!r}, 'w')\n"))
    assert True in [danger["refused"] for danger in seen["dangers"]]

    body = {"id": seen["id"], "values": {"key": "k"}, "accept": [danger["id"] for danger in seen["dangers"]]}
    error = (await client.ask("POST", "/api/presets/install", body, 403))["error"]

    assert "ccr preset install" in error["command"]
    assert not ran.exists()
    assert [] == (await client.get("/api/presets"))["presets"]


async def test_an_answer_brings_no_code_in(client: Client) -> None:
    """
    A question whose answer is a path to code is answered on the command line.
    """
    sly = {**MANIFEST, "transformers": [{"path": "#{note}"}]}
    seen = await upload(client, packed(sly))
    accept = [danger["id"] for danger in seen["dangers"]]

    body = {"id": seen["id"], "values": {"key": "k", "model": "small", "note": "/tmp/evil.py"}, "accept": accept}

    await client.ask("POST", "/api/presets/install", body, 403)


async def test_harmless_variables_of_claude_code_may_be_set(client: Client) -> None:
    """
    After they were agreed to, as everything else.
    """
    env = {"claudeCodeSettings": {"env": {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8000", "DISABLE_TELEMETRY": "1"}}}

    seen = await upload(client, packed({**MANIFEST, **env}))

    assert [False, False] == [danger["refused"] for danger in seen["dangers"]]


async def test_answers_are_checked(client: Client) -> None:
    """
    Each with its own problem; what was fetched can be tried again.
    """
    seen = await upload(client, packed(MANIFEST))
    accept = [danger["id"] for danger in seen["dangers"]]

    async def problems(**values: Any) -> list[str]:
        body = {"id": seen["id"], "values": values, "accept": accept}
        error = (await client.ask("POST", "/api/presets/install", body, 400))["error"]
        return [each["path"] for each in error["problems"]]

    assert ["values.key"] == await problems()
    assert ["values.key", "values.model"] == await problems(model="other")
    assert ["values.kye"] == await problems(kye="x", key="k")
    assert ["values.key"] == await problems(key=MASK)
    assert ["values.limit"] == await problems(key="k", limit="many")
    done = await client.ask(
        "POST", "/api/presets/install", {"id": seen["id"], "values": {"key": "k"}, "accept": accept}
    )
    assert "team" == done["name"]


async def test_a_preset_that_cannot_work_is_not_installed(client: Client) -> None:
    """
    The problems of its configuration are told with their paths.
    """
    seen = await upload(client, packed({**MANIFEST, "Router": {"default": "nobody,x"}}))
    body = {"id": seen["id"], "values": {"key": "k"}, "accept": [danger["id"] for danger in seen["dangers"]]}

    error = (await client.ask("POST", "/api/presets/install", body, 400))["error"]

    assert ["Router.default"] == [each["path"] for each in error["problems"]]


async def test_a_preset_chooses_no_file_to_read(client: Client) -> None:
    """
    An option of a plugin that is a path is for the command line, in the manifest as in an answer.
    """
    entry = {**MANIFEST["Providers"][0], "tokenizer": {"default": {"type": "huggingface", "file": "#{note}"}}}
    seen = await upload(client, packed({**MANIFEST, "Providers": [entry]}))
    accept = [danger["id"] for danger in seen["dangers"]]
    values = {"key": "k", "model": "small", "note": "/etc/passwd"}

    body = {"id": seen["id"], "values": values, "accept": accept}
    error = (await client.ask("POST", "/api/presets/install", body, 403))["error"]

    assert ["Providers[0].tokenizer.default.file"] == [each["path"] for each in error["problems"]]
    assert "ccr preset install" in error["message"]
    assert [] == (await client.get("/api/presets"))["presets"]


async def test_an_installed_one_is_shown_without_its_secrets(client: Client) -> None:
    """
    Values and configuration have masks in them, wherever an answer is used.
    """
    await installed(client, manifest={**MANIFEST, "my_note": "the key is #{key}"})

    got = await client.get("/api/presets/team")

    assert (MASK, "large") == (got["values"]["key"], got["values"]["model"])
    assert MASK == got["config"]["Providers"][0]["api_key"]
    assert f"the key is {MASK}" == got["config"]["my_note"]
    assert (True, False) == (got["served"], got["changed"])


async def test_answers_are_changed(client: Client) -> None:
    """
    A mask keeps what is there; the preset is served with the new ones.
    """
    await installed(client)

    done = await client.ask("POST", "/api/presets/team/apply", {"values": {"key": MASK, "model": "small"}})

    assert True is done["ok"]
    assert ("key-of-acme-0001", "small") == tuple(manifest(client)["userValues"][key] for key in ("key", "model"))
    assert "acme,small" == client.app.presets.engine("team").runtime.config.router.default


async def test_wrong_answers_change_nothing(client: Client) -> None:
    """
    What was there goes on.
    """
    await installed(client)
    before = manifest(client)

    error = (await client.ask("POST", "/api/presets/team/apply", {"values": {"limit": 99, "model": "x"}}, 400))["error"]

    assert {"values.model"} <= {each["path"] for each in error["problems"]}
    assert before == manifest(client)


async def test_a_second_one_of_a_name(client: Client) -> None:
    """
    It replaces the first only if that is said; answers are kept and what is other is shown.
    """
    await installed(client)
    seen = await upload(client, packed({**MANIFEST, "version": "2.0.0"}))
    assert (True, {"key": MASK}) == (seen["installed"], {"key": seen["values"]["key"]})
    assert '+  "version": "2.0.0",' in seen["difference"]

    error = (await client.ask("POST", "/api/presets/install", {"id": seen["id"]}, 409))["error"]
    await client.ask("POST", "/api/presets/install", {"id": seen["id"], "replace": True})

    assert "team" == error["presetName"]
    assert ("2.0.0", "key-of-acme-0001") == (manifest(client)["version"], manifest(client)["userValues"]["key"])


async def test_it_is_removed(client: Client) -> None:
    """
    With its files, and out of service.
    """
    await installed(client)

    await client.ask("DELETE", "/api/presets/team")

    assert [] == (await client.get("/api/presets"))["presets"]
    assert {} == client.app.presets.spaces


@pytest.mark.parametrize("name", ["nothing", "..", "team/../team", ".fetched-x"])
async def test_presets_that_do_not_exist(client: Client, name: str) -> None:
    """
    No name leads out of the folder.
    """
    await installed(client)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/apply")):
        options = {"json": {}} if method == "POST" else {}
        address = f"http://127.0.0.1:3456/api/presets/{name.replace('..', '%2e%2e')}{path}"
        assert (await client.http.request(method, address, **options)).status_code in (404, 405)
    assert manifest(client)


def hostile() -> dict[str, bytes]:
    def made(name: str, text: str = "{}", link: bool = False) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("manifest.json", json.dumps(MANIFEST))
            entry = zipfile.ZipInfo(name)
            if link:
                entry.external_attr = 0o120777 << 16
            archive.writestr(entry, text)
        return stream.getvalue()

    return {
        "traversal": made("../../evil"),
        "absolute": made("/tmp/evil"),
        "link": made("link", "/etc/passwd", link=True),
        "no zip": b"PK but no zip",
        "no manifest": made("x").replace(b"manifest.json", b"manifesto.jso"),
    }


@pytest.mark.parametrize("kind", ["traversal", "absolute", "link", "no zip", "no manifest"])
async def test_hostile_archives_are_refused(client: Client, kind: str) -> None:
    """
    And nothing of them stays.
    """
    await upload(client, hostile()[kind], status=400)

    assert [] == [*presets_folder(client.path.parent).glob(".fetched-*")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"source": "/etc"}, 403),
        ({"source": "../x"}, 403),
        ({"source": "file:///etc"}, 403),
        ({"source": "git@host:x/y.git"}, 403),
        ({"source": "http://other.example/x.zip"}, 403),
        ({"source": "ext::sh -c evil.git"}, 403),
    ],
)
async def test_only_safe_sources_are_fetched(client: Client, body: Any, status: int) -> None:
    """
    No files of this machine, no plain HTTP elsewhere, nothing that Git would run.
    """
    await client.ask("POST", "/api/presets/fetch", body, status)


async def test_an_address_and_the_marketplace(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A zip file from an address, or by its name in the list; installed ones are marked.
    """
    zip_reply = (200, {"content-type": "application/zip"}, packed(MANIFEST))
    with Vendor({"GET /team.zip": lambda hit: zip_reply}) as vendor:
        entries = [{"name": "team", "url": f"{vendor.url}/team.zip", "description": "d"}]
        vendor.routes["GET /list.json"] = lambda hit: entries
        monkeypatch.setenv("CCR_PRESET_INDEX", f"{vendor.url}/list.json")

        listed = await client.get("/api/presets/market")
        by_url = await client.ask("POST", "/api/presets/fetch", {"source": f"{vendor.url}/team.zip"})
        by_name = await client.ask("POST", "/api/presets/fetch", {"presetName": "team"})
        await installed(client)
        again = await client.get("/api/presets/market")

    assert [("team", "d", False)] == [
        (each["name"], each["description"], each["installed"]) for each in listed["presets"]
    ]
    assert by_url["questions"] == by_name["questions"]
    assert True is again["presets"][0]["installed"]
