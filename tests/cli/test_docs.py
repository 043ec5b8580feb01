"""`docs/cli.md` and the program say the same.

The help texts in the page are copies. After a change of a help text:

    python tests/cli/test_docs.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ccr_core.cli import environment
from ccr_core.cli.group import COMMANDS, group

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
BLOCK = re.compile(r"(?m)^(#+ `(ccr[^`]*)`\n\n```text\n)(.*?)^```$", re.S)
WIDTH = 100


def commands() -> Iterator[tuple[str, str]]:
    """Each command of ours with its help."""
    root = _context(group, "ccr", None)
    # Without the commands of plugins, which are other on each machine.
    yield "ccr", group.get_help(root).partition("\nCommands of plugins:")[0]
    for name in COMMANDS:
        command = group.get_command(root, name)
        assert command is not None
        yield from _with_children(command, name, root)


def _with_children(command: click.Command, name: str, parent: click.Context) -> Iterator[tuple[str, str]]:
    context = _context(command, name, parent)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _with_children(found, child, context)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(
        command,
        info_name=name,
        parent=parent,
        max_content_width=WIDTH,
        terminal_width=WIDTH,
        help_option_names=["-h", "--help"],
    )


SECOND_NAMES = ("ccr env", "ccr plugin ")
HELP = {path: text for path, text in commands() if not f"{path} ".startswith(SECOND_NAMES)}


@pytest.mark.parametrize("path", HELP)
def test_help_is_in_the_page(path: str) -> None:
    """The page shows each command's help as the program prints it."""
    shown = {match[2]: match[3].rstrip() for match in BLOCK.finditer(PAGE.read_text())}
    assert HELP[path].rstrip() == shown.get(path)


def test_page_has_no_other_commands() -> None:
    """The page describes no command that is not there."""
    assert set(HELP) == {match[2] for match in BLOCK.finditer(PAGE.read_text())}


def test_variables_are_in_the_page() -> None:
    """Every variable that the client gets, or loses, is in the page's table."""
    from ccr_core.config import from_document

    given = environment.environment(from_document({"NON_INTERACTIVE_MODE": True}, {}), "http://127.0.0.1:1", {})
    names = {*given.names(), *given.removed, *environment.SOMETIMES}
    rows = set(re.findall(r"`([A-Z_]+)`", "".join(re.findall(r"(?m)^\|.*$", PAGE.read_text()))))
    assert set() == names - rows


def write() -> None:
    """Put the present help texts into the page."""
    text = PAGE.read_text()
    PAGE.write_text(BLOCK.sub(lambda match: f"{match[1]}{HELP[match[2]].rstrip()}\n```", text))


if __name__ == "__main__":
    write()
