"""The configuration over the API: masked, changed by path, whole or as text, checked, and never half."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from api_client import MASK, TOML, Client
from test_seed_configs import EVERYTHING

from ccr_core.config import parse


def set_(path: list[Any], value: Any) -> dict[str, Any]:
    return {"op": "set", "path": path, "value": value}


async def patch(client: Client, *changes: dict[str, Any], status: int = 200, **more: Any) -> Any:
    body = {"version": await client.version(), "changes": list(changes), **more}
    return await client.ask("PATCH", "/api/config", body, status)


async def refused(client: Client, *changes: dict[str, Any], status: int = 400) -> Any:
    body = {"version": await client.version(), "changes": list(changes)}
    return await client.problems("PATCH", "/api/config", body, status)


def places_that_differ(one: str, other: str) -> list[tuple[str, str]]:
    """The lines in which two texts with equally many lines differ."""
    return [(a, b) for a, b in zip(one.splitlines(), other.splitlines(), strict=True) if a != b]


async def test_the_configuration_is_shown_masked(client: Client) -> None:
    """
    Keys, headers, passwords in addresses and options are masked; references, numbers and names are shown.
    """
    got = await client.get("/api/config")

    config = got["config"]
    big = config["Providers"][1]
    assert "json5" == got["syntax"]
    assert ["my_note"] == got["unknown"]
    assert [] == got["problems"]
    assert "$DEEPSEEK_API_KEY" == config["Providers"][0]["api_key"]
    assert MASK == config["APIKEY"]
    assert [MASK, MASK] == big["api_key"]
    assert {"x-team": MASK, "x-title": "ccr"} == big["headers"]
    assert f"https://user:{MASK}@big.example/v1/chat/completions?key={MASK}" == big["api_base_url"]
    assert [["maxtoken", {"max_tokens": 4096}], ["customparams", {"token": MASK}]] == big["transformer"]["use"]


async def test_a_change_touches_its_line_only_and_is_used_at_once(client: Client) -> None:
    """
    One value is other afterwards; remarks, order, unknown keys and references stay, and the router has it.
    """
    before = client.text

    done = await patch(client, set_(["Router", "default"], "big,small"))

    assert [('    "default": "deepseek,deepseek-chat",', '    "default": "big,small",')] == places_that_differ(
        before, client.text
    )
    assert (True, None) == (done["applied"], done["reason"])
    assert "big,small" == client.app.engine.runtime.config.router.default
    assert done["version"] == await client.version()


async def test_another_proxy_is_told(client: Client) -> None:
    """
    A change of the proxy comes back as a warning, without its password; it is in the status from then on.
    """
    proxy = "http://me:secret@proxy.example:3128"
    set_up = await patch(client, set_(["PROXY_URL"], proxy))
    same = await patch(client, set_(["PORT"], 3457))

    told = "requests go through the proxy http://proxy.example:3128 from now on (PROXY_URL)"
    assert ([told], []) == tuple([text for text in done["warnings"] if "proxy" in text] for done in (set_up, same))
    assert "http://proxy.example:3128" == client.app.status()["proxy"]


async def test_a_copy_of_the_former_file_is_kept(client: Client) -> None:
    """
    What was there can be had again.
    """
    before = client.text

    await patch(client, set_(["PORT"], 3457))

    (kept,) = client.path.parent.glob("config.json.*.bak")
    assert before == kept.read_text()


async def test_several_changes_are_made_in_order(client: Client) -> None:
    """
    Insert, set and delete by path, where a later one sees the earlier ones.
    """
    await patch(
        client,
        {"op": "insert", "path": ["Providers", 0, "models", 0], "value": "first"},
        {"op": "delete", "path": ["Providers", 0, "models", 1]},
        set_(["Router", "background"], "deepseek,first"),
    )

    assert ("first", "deepseek-reasoner") == client.app.engine.runtime.config.providers[0].models
    assert "deepseek,first" == client.app.engine.runtime.config.router.options["background"]


async def test_masks_that_come_back_mean_what_was_there(client: Client) -> None:
    """
    An entry that is sent back with one change keeps all its secrets.
    """
    entry = (await client.get("/api/config"))["config"]["Providers"][1]
    entry["models"].append("third")

    await patch(client, set_(["Providers", 1], entry))

    data = parse(client.text, client.path).data
    assert ["sk-first-key-of-big-0001", "sk-second-key-of-big-0002"] == data["Providers"][1]["api_key"]
    assert "pass-word-of-big" in data["Providers"][1]["api_base_url"]
    assert "third" == data["Providers"][1]["models"][-1]
    assert "bare keys are fine" in client.text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["Router", "default"], MASK),
        (["Providers", 0, "api_key"], MASK),
        (["Providers", 2, "api_key"], MASK),
        (["Providers", 1, "api_key"], f"{MASK}x"),
        (["Providers", 1, "api_base_url"], f"https://user:{MASK}@evil.example/?key={MASK}"),
        (["Providers", 1, "api_key"], [MASK]),
        (["Providers", 3], {"name": "copy", "api_base_url": "https://x.example/v1", "api_key": MASK, "models": ["m"]}),
    ],
)
async def test_a_mask_elsewhere_is_a_problem(client: Client, path: list[Any], value: Any) -> None:
    """
    A mask where no secret was, or of which nobody knows what it means, is never written.
    """
    problems = await refused(client, set_(path, value))

    assert problems
    assert all("mask" in message for _, message in problems)


async def test_one_of_several_keys_can_be_removed_by_its_place(client: Client) -> None:
    """
    What a list with fewer masks cannot say, a deletion by path does.
    """
    await patch(client, {"op": "delete", "path": ["Providers", 1, "api_key", 0]})

    assert ["sk-second-key-of-big-0002"] == parse(client.text, client.path).data["Providers"][1]["api_key"]


async def test_a_key_can_be_added_behind_masks(client: Client) -> None:
    """
    The keys before it stay.
    """
    await patch(client, set_(["Providers", 1, "api_key"], [MASK, MASK, "sk-third-key-000003"]))

    keys = parse(client.text, client.path).data["Providers"][1]["api_key"]
    assert ["sk-first-key-of-big-0001", "sk-second-key-of-big-0002", "sk-third-key-000003"] == keys


async def test_every_problem_is_told_with_its_place(client: Client) -> None:
    """
    All that is wrong with the result comes at once, with line and column, and nothing is written.
    """
    before = client.text
    body = {
        "version": await client.version(),
        "changes": [
            set_(["Router", "default"], "nobody,nothing"),
            set_(["Providers", 0, "models"], "text"),
            set_(["limits"], {"idle_s": "x", "wrong": 1}),
        ],
    }

    error = (await client.ask("PATCH", "/api/config", body, 400))["error"]

    assert "invalid_request_error" == error["type"]
    assert {"Providers[0].models", "limits.idle_s", "limits.wrong"} == {each["path"] for each in error["problems"]}
    models = next(each for each in error["problems"] if each["path"] == "Providers[0].models")
    assert (12, 7) == (models["line"], models["column"])
    assert before == client.text
    assert "deepseek,deepseek-chat" == client.app.engine.runtime.config.router.default


async def test_problems_that_only_plugins_see_are_told_too(client: Client) -> None:
    """
    Options of transformers and routes to nowhere are checked before anything is written.
    """
    problems = await refused(
        client,
        set_(["Providers", 1, "transformer", "use", 0, 1, "max_tokens"], -1),
        set_(["Router", "think"], "nobody,nothing"),
    )

    assert ["Providers[1].transformer.use[0][1]", "Router.think"] == [path for path, _ in problems]


async def test_two_editors_at_once(client: Client) -> None:
    """
    The second one is told, with the version that is there now; the first one's change stands.
    """
    version = await client.version()
    bodies = [
        {"version": version, "changes": [set_(["Router", "default"], f"big,{name}")]} for name in ("huge", "small")
    ]

    answers = await asyncio.gather(*(client.http.patch("/api/config", json=body) for body in bodies))

    assert [200, 409] == sorted(answer.status_code for answer in answers)
    (lost,) = (answer.json()["error"] for answer in answers if answer.status_code == 409)
    assert "conflict" == lost["type"]
    assert lost["version"] == await client.version()


async def test_a_change_by_another_program_is_noticed(client: Client) -> None:
    """
    An editor's save between reading and writing is not overwritten.
    """
    version = await client.version()
    client.path.write_text(client.text.replace("3456", "3999"))

    body = {"version": version, "changes": [set_(["PORT"], 1)]}
    error = (await client.ask("PATCH", "/api/config", body, 409))["error"]

    assert "conflict" == error["type"]
    assert "3999" in client.text


async def test_the_whole_document_can_be_sent_back(client: Client) -> None:
    """
    What differs is written, the rest of the file is not touched.
    """
    got = await client.get("/api/config")
    before = client.text
    got["config"]["Router"]["default"] = "local,tiny"

    await client.ask("PUT", "/api/config", {"version": got["version"], "config": got["config"]})

    assert [('    "default": "deepseek,deepseek-chat",', '    "default": "local,tiny",')] == places_that_differ(
        before, client.text
    )


async def test_the_document_as_read_changes_nothing(client: Client) -> None:
    """
    Saving without a change writes no byte and keeps no copy.
    """
    got = await client.get("/api/config")
    before = client.text

    done = await client.ask("PUT", "/api/config", {"version": got["version"], "config": got["config"]})

    assert got["version"] == done["version"]
    assert before == client.text
    assert [] == list(client.path.parent.glob("*.bak"))


async def test_reordered_entries_keep_their_own_secrets(client: Client) -> None:
    """
    Entries are known by their names, not by their places.
    """
    got = await client.get("/api/config")
    got["config"]["Providers"].reverse()

    await client.ask("PUT", "/api/config", {"version": got["version"], "config": got["config"]})

    entries = {entry["name"]: entry for entry in parse(client.text, client.path).data["Providers"]}
    assert ["local", "big", "deepseek"] == list(entries)
    assert ["sk-first-key-of-big-0001", "sk-second-key-of-big-0002"] == entries["big"]["api_key"]
    assert "$DEEPSEEK_API_KEY" == entries["deepseek"]["api_key"]


async def test_the_text_is_masked_in_place(client: Client) -> None:
    """
    The text is that of the file but for the secrets, also those in remarks.
    """
    got = await client.get("/api/config/text")

    shown = got["text"]
    assert "// the cheap one" in shown
    assert f'// "api_key": "{MASK}' in shown
    assert f"api_key: ['{MASK}', '{MASK}']" in shown
    assert '"api_key": "$DEEPSEEK_API_KEY"' in shown
    assert len(client.text.splitlines()) == len(shown.splitlines())


async def test_the_text_as_read_changes_nothing(client: Client) -> None:
    """
    Masks are replaced at their places, byte for byte.
    """
    got = await client.get("/api/config/text")
    before = client.text

    await client.ask("PUT", "/api/config/text", {"version": got["version"], "text": got["text"]})

    assert before == client.text


async def test_text_can_be_added_around_masks(client: Client) -> None:
    """
    Lines that move keep their secrets.
    """
    got = await client.get("/api/config/text")
    text = got["text"].replace('"Providers": [', '"LOG": false,\n\n  "Providers": [\n    // here they are', 1)

    await client.ask("PUT", "/api/config/text", {"version": got["version"], "text": text})

    assert "sk-second-key-of-big-0002" in client.text
    assert "sk-commented-out-key-000000" in client.text
    assert MASK not in client.text
    assert client.app.engine.runtime.config.log is False


async def test_broken_text_is_marked_at_its_place(client: Client) -> None:
    """
    A syntax error is told with line and column; nothing is written, the router goes on as it was.
    """
    got = await client.get("/api/config/text")
    before = client.text
    text = got["text"].replace('"PORT": 3456,', '"PORT": ]3456,')

    body = {"version": got["version"], "text": text}
    error = (await client.ask("PUT", "/api/config/text", body, 400))["error"]

    assert [4] == [each["line"] for each in error["problems"]]
    assert before == client.text


async def test_problems_of_a_text_are_placed_in_what_was_typed(client: Client) -> None:
    """
    Not in the text with its secrets, in which columns are others.
    """
    got = await client.get("/api/config/text")
    line = f"api_key: ['{MASK}', '{MASK}'], models: 'text',"
    text = (
        got["text"]
        .replace(f"api_key: ['{MASK}', '{MASK}'],", line)
        .replace("      models: ['huge', ", "      x: ['huge', ")
    )

    body = {"version": got["version"], "text": text}
    error = (await client.ask("PUT", "/api/config/text", body, 400))["error"]

    place = next((each["line"], each["column"]) for each in error["problems"] if each["path"].endswith("models"))
    assert "models: 'text'" == text.splitlines()[place[0] - 1][place[1] - 1 :][:14]


async def test_a_mask_in_a_new_remark_is_a_problem(client: Client) -> None:
    """
    A remark that was not there cannot mean a secret.
    """
    got = await client.get("/api/config/text")
    text = got["text"].replace("// the cheap one", f"// the key is {MASK}")

    problems = await client.problems("PUT", "/api/config/text", {"version": got["version"], "text": text})

    assert ["this is a mask, and it is not known for what; give the value itself"] == [text for _, text in problems]


async def test_a_broken_file_can_be_seen_and_mended(client: Client) -> None:
    """
    A file that somebody has broken is shown masked with its problem, and can be saved mended with its secrets.
    """
    whole = client.text
    client.path.write_text(whole.replace('"PORT": 3456,', '"PORT": ]3456,'))

    seen = await client.get("/api/config")
    text = (await client.get("/api/config/text"))["text"]
    mended = text.replace("]3456", "3456")
    done = await client.ask("PUT", "/api/config/text", {"version": seen["version"], "text": mended})

    assert None is seen["config"]
    assert [4] == [each["line"] for each in seen["problems"]]
    assert whole == client.text
    assert True is done["applied"]


async def test_a_check_writes_nothing(client: Client) -> None:
    """
    Each of the three forms is looked at as if it were saved.
    """
    before = client.text
    config = (await client.get("/api/config"))["config"]

    fine = await client.ask("POST", "/api/config/check", {"changes": [set_(["PORT"], 99)]})
    wrong = await client.ask("POST", "/api/config/check", {"config": {**config, "PORT": "x"}})
    broken = await client.ask("POST", "/api/config/check", {"text": '{"PORT": 1,,}'})

    assert [] == fine["problems"]
    assert ["PORT"] == [each["path"] for each in wrong["problems"]]
    assert [(1, 12)] == [(each["line"], each["column"]) for each in broken["problems"]]
    assert before == client.text


CODE = [
    [set_(["CUSTOM_ROUTER_PATH"], "/tmp/evil.py")],
    [set_(["CLAUDE_PATH"], "/tmp/evil")],
    [set_(["token_store"], {"name": "file", "path": "/tmp/evil"})],
    [set_(["REWRITE_SYSTEM_PROMPT"], "/etc/passwd")],
    [set_(["transformers"], [{"path": "/tmp/evil.py"}])],
    [set_(["StatusLine"], {"default": {"modules": [{"type": "script", "scriptPath": "/tmp/evil.py"}]}})],
    [set_(["plugins"], [{"name": "x", "module": "evil"}])],
    [set_(["management"], {"remote": True})],
]


@pytest.mark.parametrize("changes", CODE)
async def test_code_cannot_be_added(client: Client, changes: list[Any]) -> None:
    """
    Whatever would run, or read a file, that the configuration does not name already is refused as forbidden.
    """
    problems = await refused(client, *changes, status=403)

    assert 1 == len(problems)
    assert "set it in the file itself" in problems[0][1]


TOKENIZER = {"models": {"m": {"type": "huggingface", "file": "/etc/passwd"}}}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (set_(["Providers", 0, "tokenizer"], TOKENIZER), "Providers[0].tokenizer.models.m.file"),
        (
            set_(["Providers", 0, "tokenizer"], {"default": {"type": "huggingface", "file": "~/.ssh/id_rsa"}}),
            "Providers[0].tokenizer.default.file",
        ),
    ],
)
async def test_a_file_to_read_cannot_be_chosen(client: Client, change: Any, place: str) -> None:
    """
    An option of a plugin that is a path is refused as forbidden, at its place, in a check as well.
    """
    before = client.text
    problems = await refused(client, change, status=403)
    checked = await client.ask("POST", "/api/config/check", {"changes": [change]})

    assert [(place, True)] == [(path, "set it in the file itself" in text) for path, text in problems]
    assert [place] == [each["path"] for each in checked["problems"]]
    assert before == client.text


async def test_a_file_that_is_named_already_stays(client: Client) -> None:
    """
    What the owner has written may get other options around it, and another place.
    """
    owned = client.text.replace('"name": "deepseek",', f'"name": "deepseek", "tokenizer": {json.dumps(TOKENIZER)},')
    client.path.write_text(owned)

    await patch(client, set_(["PORT"], 3457))
    await patch(client, set_(["Providers", 0, "tokenizer"], {"default": TOKENIZER["models"]["m"]}))
    problems = await refused(client, set_(["Providers", 0, "tokenizer", "default", "file"], "/etc/shadow"), status=403)

    assert ["Providers[0].tokenizer.default.file"] == [path for path, _ in problems]


async def test_code_in_the_text_is_refused_as_well(client: Client) -> None:
    """
    The raw text is no way around.
    """
    got = await client.get("/api/config/text")
    text = got["text"].replace('"PORT": 3456,', '"PORT": 3456, "CUSTOM_ROUTER_PATH": "/tmp/evil.py",')

    await client.problems("PUT", "/api/config/text", {"version": got["version"], "text": text}, 403)


async def test_a_disabled_plugin_is_not_switched_on(client: Client) -> None:
    """
    Switching one off is possible, switching one on loads code and names the command.
    """
    await patch(client, set_(["disabled_plugins"], ["echo"]))

    problems = await refused(client, {"op": "delete", "path": ["disabled_plugins"]}, status=403)

    assert [("disabled_plugins", "switching a plugin on loads its code; run: ccr plugins enable echo")] == problems


async def test_the_check_of_plugins_is_not_loosened(client: Client) -> None:
    """
    It can be made stricter only.
    """
    await patch(client, set_(["plugins_lock"], "warn"))

    problems = await refused(client, {"op": "delete", "path": ["plugins_lock"]}, status=403)

    assert ["plugins_lock"] == [path for path, _ in problems]


@pytest.mark.parametrize(
    "change",
    [
        set_(["Providers", 0, "api_base_url"], "https://evil.example/v1"),
        set_(["Providers", 0, "api_base_url"], "http://api.deepseek.com/chat/completions"),
        set_(["Providers", 1, "api_base_url"], "https://evil.example/v1/chat/completions"),
        set_(["Providers", 0, "name"], "groq"),
    ],
)
async def test_a_kept_key_does_not_go_to_a_new_host(client: Client, change: Any) -> None:
    """
    Only the address is changed: the key would go there, so that has to be said, or the key given again.
    """
    if change["path"][-1] == "name":
        await patch(client, {"op": "delete", "path": ["Providers", 0, "api_base_url"]})
        await patch(client, set_(["Router", "default"], "local,tiny"))
    before = client.text
    body = {"version": await client.version(), "changes": [change]}

    error = (await client.ask("PATCH", "/api/config", body, 400))["error"]
    assert before == client.text
    assert True is error["accept_host"]
    assert 1 == len(error["problems"])

    await client.ask("PATCH", "/api/config", {**body, "accept_host": True})
    assert before != client.text


async def test_a_new_host_with_a_new_key_is_fine(client: Client) -> None:
    """
    Whoever gives the key says where it goes.
    """
    await patch(
        client,
        set_(["Providers", 0, "api_base_url"], "https://other.example/v1/chat/completions"),
        set_(["Providers", 0, "api_key"], "sk-another-key-for-this"),
    )

    assert "sk-another-key-for-this" in client.text


async def test_unknown_members_of_a_body_are_problems(client: Client) -> None:
    """
    A misspelt member is not passed over.
    """
    problems = await client.problems("PATCH", "/api/config", {"version": "x", "change": []})

    assert {"changes", "change"} == {path for path, _ in problems}


async def test_other_content_types_are_refused(client: Client) -> None:
    """
    A form of a web page cannot change anything.
    """
    answer = await client.http.patch("/api/config", content=b"{}", headers={"content-type": "text/plain"})

    assert 415 == answer.status_code


async def test_the_schema_knows_the_keys(client: Client) -> None:
    """
    Rules and observers of plugins are in it.
    """
    got = await client.get("/api/config/schema")

    assert {"type": "boolean"} == got["properties"]["LOG"]
    assert "longContext" in got["properties"]["Router"]["properties"]
    assert "request-log" in got["properties"]["observers"]["properties"]
    assert "api_base_url" in got["properties"]["Providers"]["items"]["properties"]


class TestSeed:
    """The configuration that most people started from."""

    @pytest.fixture
    def written(self) -> str:
        return EVERYTHING

    async def test_every_way_to_save_leaves_it_as_it_is(self, client: Client) -> None:
        """
        By path, whole and as text, saving one value keeps every other line, byte for byte.
        """
        client.secrets = ["your-secret-key", "sk-volc", "sk-silicon", "sk-kimi", "resolved-openai_api_key"]
        for number, way in enumerate(("PATCH", "PUT", "text")):
            before = client.text
            got = await client.get("/api/config")
            new = 60001 + number
            if way == "PATCH":
                body = {"version": got["version"], "changes": [set_(["Router", "longContextThreshold"], new)]}
                await client.ask("PATCH", "/api/config", body)
            elif way == "PUT":
                got["config"]["Router"]["longContextThreshold"] = new
                await client.ask("PUT", "/api/config", {"version": got["version"], "config": got["config"]})
            else:
                text = (await client.get("/api/config/text"))["text"].replace(str(new - 1), str(new))
                await client.ask("PUT", "/api/config/text", {"version": got["version"], "text": text})
            (pair,) = places_that_differ(before, client.text)
            assert f'    "longContextThreshold": {new},' == pair[1]
        assert "// what most people started from" in client.text


class TestToml:
    """The same in the other syntax."""

    @pytest.fixture
    def written(self) -> str:
        return TOML

    @pytest.fixture
    def file_name(self) -> str:
        return "config.toml"

    async def test_every_way_to_save_leaves_it_as_it_is(self, client: Client) -> None:
        """
        By path, whole and as text, saving one value keeps every other line.
        """
        before = client.text
        got = await client.get("/api/config")
        text = (await client.get("/api/config/text"))["text"]
        await client.ask("PUT", "/api/config/text", {"version": got["version"], "text": text})
        assert before == client.text

        await patch(client, set_(["Router", "default"], "big,small"))
        assert [('default = "big,huge"  # a remark', 'default = "big,small"  # a remark')] == places_that_differ(
            before, client.text
        )

        got = await client.get("/api/config")
        got["config"]["Router"]["default"] = "big,huge"
        await client.ask("PUT", "/api/config", {"version": got["version"], "config": got["config"]})
        assert before == client.text

    async def test_broken_text_is_marked_at_its_place(self, client: Client) -> None:
        """
        The TOML parser's place is told.
        """
        got = await client.get("/api/config/text")
        text = got["text"].replace('default = "big,huge"', "default = ")

        error = (await client.ask("PUT", "/api/config/text", {"version": got["version"], "text": text}, 400))["error"]

        assert [6] == [each["line"] for each in error["problems"]]
