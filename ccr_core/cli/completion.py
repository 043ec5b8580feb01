"""``ccr completion``: shell code that asks ``ccr __complete`` for what may come next.

Rules: pressing a key must not be slow, so nothing here loads plugins, the router or the real configuration; names of
providers and models are read as the status line reads them.  Whatever fails completes nothing, and is silent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from ccr_core.cli import statusline as light

BASH = r"""
_ccr_complete() {
  local line="${COMP_LINE:0:COMP_POINT}" word item
  local -a words
  # Split at blanks only: names of models have colons, at which bash splits, too.
  read -r -a words <<< "$line"
  word="${COMP_WORDS[COMP_CWORD]}"
  case "$line" in *" ") words+=("") ;; esac
  local whole="${words[${#words[@]}-1]}"
  local before="${whole%"$word"}"
  COMPREPLY=()
  while IFS= read -r item; do
    COMPREPLY+=("${item#"$before"}")
  done < <(ccr __complete "${words[@]:1}" 2>/dev/null)
  [ ${#COMPREPLY[@]} -gt 0 ] || compopt -o default 2>/dev/null
}
complete -F _ccr_complete ccr
"""

ZSH = r"""
#compdef ccr
_ccr_complete() {
  local -a found
  found=("${(@f)$(ccr __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  found=(${found:#})
  if (( ${#found} )); then compadd -a found; else _files; fi
}
compdef _ccr_complete ccr
"""

FISH = r"""
function __ccr_complete
    set -l words (commandline -opc) (commandline -ct)
    ccr __complete $words[2..-1] 2>/dev/null
end
complete -c ccr -f -a '(__ccr_complete)'
"""

SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
ROUTES = ("default", "background", "think", "longContext", "webSearch", "image")


@click.command(short_help="Print shell code that completes words of ccr.")
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
def completion(shell: str) -> int:
    """Print shell code that completes words of ccr: commands, options, and names of providers, models and plugins.

    \b
    Examples:
      eval "$(ccr completion bash)"                              in ~/.bashrc
      eval "$(ccr completion zsh)"                               in ~/.zshrc, after compinit
      ccr completion fish > ~/.config/fish/completions/ccr.fish

    Exit code: 0; 2 for a shell that is not known.
    """
    print(SHELLS[shell].strip())
    return 0


def complete(words: Sequence[str]) -> int:
    """``ccr __complete WORDS…``: print what the last word may become, a line each."""
    try:
        for found in dict.fromkeys(candidates(words)):
            print(found)
    except Exception:
        return 1
    return 0


def candidates(words: Sequence[str]) -> Iterator[str]:
    """What the last of the words may become; the words are those after ``ccr``."""
    from ccr_core.cli.group import COMMANDS, contributed, group

    *before, last = words or [""]
    if not before:
        yield from _starting((*COMMANDS, *contributed(), *presets(), *_options(group)), last)
        return
    command: click.Command = group
    path: list[str] = []
    ctx = click.Context(group, info_name="ccr")
    rest = list(before)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(ctx, rest[0])
        if found is None:
            break
        command, ctx = found, click.Context(found, parent=ctx, info_name=rest[0])
        path.append(rest.pop(0))
    name = " ".join(path).replace("plugin ", "plugins ", 1) if path[:1] == ["plugin"] else " ".join(path)
    if not path or name == "code":
        # What comes after ``ccr code`` or a preset is the client's, but models are ours.
        if before[-1] == "--model":
            yield from _starting(targets(), last)
        return
    if isinstance(command, click.Group):
        yield from _starting((*command.list_commands(ctx), *_options(command)), last)
        return
    if last.startswith("-"):
        yield from _starting(_options(command), last)
        return
    option = next((each for each in _params(command, click.Option) if rest and rest[-1] in each.opts), None)
    if option is not None and not option.is_flag:
        yield from _asked(option, ctx, last, _positional(command, rest))
        return
    arguments = _params(command, click.Argument)
    given = _positional(command, rest)
    if not arguments:
        return
    argument = arguments[min(len(given), len(arguments) - 1)]
    if len(given) >= len(arguments) and argument.nargs != -1:
        return
    source = NAMES.get(f"{name} {argument.name}")
    if source is not None:
        yield from _starting(source(given), last)
    elif argument.name and ctx.command is command:
        yield from _asked(argument, ctx, last, given)
    else:
        yield from _starting(_choices(argument), last)


def _params(command: click.Command, kind: type[Any]) -> list[Any]:
    return [param for param in command.params if isinstance(param, kind) and not getattr(param, "hidden", False)]


def _asked(param: click.Parameter, ctx: click.Context, last: str, given: Sequence[str]) -> Iterator[str]:
    """What the command itself knows of a value: its choices, or such as accounts, which may take longer.

    Names of files are left to the shell.
    """
    names = [each.name for each in _params(ctx.command, click.Argument)]
    ctx.params.update({name: value for name, value in zip(names, given, strict=False) if name is not None})
    return _starting((item.value for item in param.shell_complete(ctx, last) if item.type == "plain"), last)


def _options(command: click.Command) -> list[str]:
    return [*(opt for param in _params(command, click.Option) for opt in param.opts if opt.startswith("--")), "--help"]


def _choices(param: click.Parameter) -> Iterable[str]:
    return [str(choice) for choice in param.type.choices] if isinstance(param.type, click.Choice) else ()


def _positional(command: click.Command, words: Sequence[str]) -> list[str]:
    """The words that are arguments, without options and their values."""
    valued = {opt for param in _params(command, click.Option) if not param.is_flag for opt in param.opts}
    found, skip = [], False
    for word in words:
        if skip or word.startswith("-"):
            skip = word in valued
        else:
            found.append(word)
    return found


def _starting(names: Iterable[str], start: str) -> Iterator[str]:
    return (name for name in names if name.startswith(start))


# --- names ------------------------------------------------------------------------------------------------------


def providers() -> dict[str, list[str]]:
    """Each provider of the configuration with the models that it lists."""
    config = light.configuration()
    entries = config.get("Providers") or config.get("providers") or []
    found: dict[str, list[str]] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            models = entry.get("models")
            names = [each.get("name") if isinstance(each, dict) else each for each in models or ()]
            found[entry["name"]] = [each for each in names if isinstance(each, str)]
    return found


def targets() -> list[str]:
    """``provider,model`` for all of them."""
    return [f"{provider},{model}" for provider, models in providers().items() for model in models]


def presets() -> list[str]:
    """The installed presets."""
    try:
        return sorted(name for name in os.listdir(os.path.join(light.home(), "presets")) if not name.startswith("."))
    except OSError:
        return []


def plugin_names() -> list[str]:
    """The installed plugins; nothing of them is imported."""
    from importlib.metadata import entry_points

    return sorted({point.name for point in entry_points(group="ccr")})


def disabled() -> list[str]:
    """The plugins that the configuration leaves out."""
    listed = light.configuration().get("disabled_plugins")
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def logs() -> list[str]:
    """The files of logs."""
    try:
        return ["requests", "server", *sorted(os.listdir(os.path.join(light.home(), "logs")))]
    except OSError:
        return ["requests", "server"]


NAMES: Mapping[str, Callable[[Sequence[str]], Iterable[str]]] = {
    "model set route": lambda given: ROUTES,
    "model set target": lambda given: targets(),
    "model add provider": lambda given: providers(),
    "model remove provider": lambda given: providers(),
    "model remove name": lambda given: providers().get(given[0], ()),
    "provider remove name": lambda given: providers(),
    "provider test name": lambda given: providers(),
    "preset info name": lambda given: presets(),
    "preset install source": lambda given: presets(),
    "preset delete name": lambda given: presets(),
    "statusline preset": lambda given: presets(),
    "plugins show name": lambda given: plugin_names(),
    "plugins disable names": lambda given: plugin_names(),
    "plugins enable names": lambda given: disabled(),
    "plugins remove name": lambda given: plugin_names(),
    "logs name": lambda given: logs(),
}
"""Command and argument → names that fit, from the arguments before."""
