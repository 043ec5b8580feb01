"""``ccr start``, ``ccr stop`` and ``ccr restart``.

The router itself is :func:`ccr_core.server.serve`; here is what surrounds it: the first configuration, the state
file, the background, and telling why it could not start.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs
import click

from ccr_core import __version__
from ccr_core.cli import process
from ccr_core.cli.output import fail, note
from ccr_core.config import find, home
from ccr_core.errors import CcrError

if TYPE_CHECKING:
    from ccr_core.config import Config
    from ccr_core.plugins import Registry

F = TypeVar("F", bound=Callable[..., Any])

LEVELS = ("fatal", "error", "warn", "info", "debug", "trace")


def _options(command: F) -> F:
    """The options that ``start`` and ``restart`` share."""
    for option in (
        click.option("--log-level", type=click.Choice(LEVELS), help="How much is logged, instead of LOG_LEVEL."),
        click.option(
            "--workers",
            type=click.IntRange(1, 64),
            help="How many processes serve, instead of workers in the configuration (1).",
        ),
        click.option("--no-plugins", is_flag=True, help="Leave out all plugins that did not come with ccr."),
        click.option("--config", type=click.Path(path_type=Path), help="The configuration file to use."),
        click.option("--host", help="The address to listen on, instead of HOST. Needs an APIKEY unless local."),
        click.option("--port", type=click.IntRange(0, 65535), help="The port, instead of PORT. 0: any free one."),
    ):
        command = option(command)
    return command


@attrs.frozen(kw_only=True)
class Options:
    """The options of ``ccr start``, as given."""

    port: int | None = None
    host: str | None = None
    config: Path | None = None
    workers: int | None = None
    no_plugins: bool = False
    log_level: Literal["fatal", "error", "warn", "info", "debug", "trace"] | None = None

    def words(self) -> tuple[str, ...]:
        """The command line that gives these options, whatever folder it is used in."""
        words: list[str] = []
        if self.port is not None:
            words += ["--port", str(self.port)]
        if self.host is not None:
            words += ["--host", self.host]
        if self.config is not None:
            words += ["--config", os.path.abspath(self.config.expanduser())]
        if self.workers is not None:
            words += ["--workers", str(self.workers)]
        if self.no_plugins:
            words += ["--no-plugins"]
        if self.log_level is not None:
            words += ["--log-level", self.log_level]
        return tuple(words)


@click.command(short_help="Start the router.")
@click.option("-d", "--daemon", is_flag=True, help="Start it in the background, and return when it answers.")
@_options
@click.option("--log-file", hidden=True, help="The file that standard output goes to (set by --daemon).")
@click.option("--auto", is_flag=True, hidden=True, help="Started by ccr code, to be stopped with its last user.")
@click.option("--worker", hidden=True, help="The place of a worker (set by --workers).")
def start(daemon: bool, log_file: str | None, auto: bool, worker: str | None, **given: Any) -> int:
    """Start the router and serve until Ctrl-C or "ccr stop".

    If a router runs already, this says where, and is content. Without a configuration a first one is written, from
    the provider keys in the environment and the model servers on this machine; without any, a built-in echo model
    answers. The output of a router in the background goes to logs/ccr-*.log in ccr's folder.

    \b
    Examples:
      ccr start                   serve in this terminal
      ccr start -d                serve in the background
      ccr start --port 4000       on another port
      ccr start --workers 2       with two processes, for dozens of agents at once
      ccr start --no-plugins      without the plugins that you installed

    Exit code: 0 when it was stopped or runs already, 1 when it cannot start.
    """
    options = Options(**given)
    folder = home()
    if worker is not None:
        return _work(options, worker)
    process.make_folder(folder)
    with process.starting(folder) if daemon else _at_once():
        standing = process.look(folder)
        if standing.run is not None:
            return _already(folder, standing)
        if daemon:
            from ccr_core.cli import firstrun

            _choose_plugins(options)
            firstrun.ensure(options.config)
            run = process.launch(folder, options.words())
            print(f"ccr is running at {run.url} (pid {run.pid}); its output goes to {run.log}")
            return 0
    return _serve(folder, options, log_file, auto)


def _already(folder: Path, standing: process.Standing) -> int:
    run = standing.run
    assert run is not None
    if standing.state == "stuck":
        return fail(f"a router runs (pid {run.pid}) but does not answer at {run.url}; end it with: ccr stop")
    if run.auto:
        # Somebody wants it now for its own sake: it no longer ends with the last ccr code.
        process.write(folder, attrs.evolve(run, auto=False))
    print(f"ccr is already running at {run.url} (pid {run.pid}, version {run.version})")
    return 0


def _at_once() -> Any:
    import contextlib

    return contextlib.nullcontext()


def _choose_plugins(options: Options) -> None:
    if options.no_plugins:
        from ccr_core.cli.group import only_own_plugins

        only_own_plugins()


def _serve(folder: Path, options: Options, log_file: str | None, auto: bool) -> int:
    """Serve in this process, or in several workers of it, until it is told to end; returns the exit code."""
    from ccr_core.cli import firstrun

    _choose_plugins(options)
    path = firstrun.ensure(options.config)
    config = read_config(options, path)
    for other in find(options.config).ignored:
        note(f"using {config.source}; {other.name} beside it is not read")
    count = options.workers or config.workers
    if count > 1:
        from ccr_core import workers

        if not workers.possible():
            return fail(
                "this system cannot have several workers; leave out --workers, and workers in the configuration"
            )
    registry = registry_of(config) if count == 1 else None
    from ccr_core.server import bind_address, serve

    _log_to_stderr(config)
    config, again = _placed(config, options, tells=True)
    address = bind_address(config)
    why = process.blocked(address, config.port)
    if why is not None:
        return fail(f"cannot start: {why}")

    trouble: list[CcrError] = []

    def ready(host: str, port: int, failed: Sequence[dict[str, str]] = ()) -> None:
        run = process.Run(
            pid=os.getpid(),
            port=port,
            host=host,
            version=__version__,
            config=str(config.source) if config.source else None,
            started=time.time(),
            born=process.born(os.getpid()),
            log=log_file,
            options=options.words(),
            auto=auto,
            failed=tuple(_failed(registry) if registry is not None else failed),
        )
        try:
            process.write(folder, run)
        except CcrError as error:
            # A router that nobody can find or stop must not go on.
            trouble.append(error)
            signal.raise_signal(signal.SIGTERM)
            return
        several = f", with {count} workers" if count > 1 else ""
        print(f"ccr {__version__} is running at {run.url} with {config.source}{several}", flush=True)
        if log_file is None:
            print('Claude Code through it: "ccr code". To stop it: Ctrl-C.', flush=True)

    signal.signal(signal.SIGTERM, _end)
    try:
        if registry is None:
            return _supervise(folder, address, config.port, count, options, ready)
        return serve(
            config, registry, host=address, port=config.port, on_ready=ready, again=again, on_reload=set_log_level
        )
    except KeyboardInterrupt:
        return 0
    except SystemExit as ended:
        if trouble:
            raise trouble[0] from None
        return ended.code if isinstance(ended.code, int) else 1
    finally:
        process.clear(folder, os.getpid())


def _supervise(folder: Path, address: str, port: int, count: int, options: Options, ready: Callable[..., None]) -> int:
    """Listen, and let workers serve."""
    import shutil

    from ccr_core.server import listen
    from ccr_core.workers import Place, Supervisor

    # -P: the folder that the process works in must not become a place of Python modules.
    command = [sys.executable, "-P", "-m", "ccr_core.cli", "start", *options.words()]
    sock = listen(address, port)
    at = sock.getsockname()[:2]
    # Where the usual client library of Prometheus adds up what several processes count.
    metrics = folder / "run" / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(mode=0o700, parents=True)
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(metrics))

    def begin(about: dict[str, Any]) -> None:
        ready(*at, failed=about["failed"])

    def line(place: Place) -> list[str]:
        return [*command, "--worker", place.to_text()]

    return Supervisor(sock, count, line, begin).run()


def _work(options: Options, text: str) -> int:
    """Be the worker whose place the supervisor describes in ``text``; returns the exit code."""
    from ccr_core.peers import Post
    from ccr_core.workers import Place

    post = Post.take(Place.of_text(text))
    place = post.place
    _choose_plugins(options)
    config = read_config(options, find(options.config).path)
    registry = registry_of(config, tells=place.tells)
    from ccr_core.server import serve

    _log_to_stderr(config, f"worker {place.number}")
    config, again = _placed(config, options, tells=place.number == 1)

    def ready(host: str, port: int) -> None:
        post.control.say("ready", {"failed": _failed(registry)})

    signal.signal(signal.SIGTERM, _end)
    try:
        return serve(config, registry, on_ready=ready, again=again, post=post, on_reload=set_log_level)
    except KeyboardInterrupt:
        return 0


def _placed(config: Config, options: Options, tells: bool) -> tuple[Config, Callable[[], tuple[Config, Registry]]]:
    """The configuration at the address that the options name, and what reads it again later.

    ``tells`` says whether this process says what concerns the whole router.
    """
    written = (config.host, config.port, config.workers)
    placed = attrs.evolve(
        config,
        port=options.port if options.port is not None else process.service_port(config.port),
        host=options.host or config.host,
    )

    def again() -> tuple[Config, Registry]:
        changed, plugins = load(options, config.source, tells)
        if tells and (changed.host, changed.port, changed.workers) != written:
            note("HOST, PORT or workers has changed; that takes effect with: ccr restart")
        return attrs.evolve(changed, host=placed.host, port=placed.port), plugins

    return placed, again


def _failed(registry: Registry) -> list[dict[str, str]]:
    """The plugins that could not be used, for people."""
    return [{"name": each.name, "reason": each.reason} for each in registry.plugins if each.state == "failed"]


def _end(number: int, frame: object) -> None:
    """SIGTERM: the server has finished by now, or has not begun."""
    raise SystemExit(0)


def prepare(options: Options) -> tuple[Config, Registry]:
    """The configuration (a first one is written if there is none) and the plugins, with the options applied."""
    from ccr_core.cli import firstrun

    _choose_plugins(options)
    return load(options, firstrun.ensure(options.config))


def load(options: Options, path: Path | None, tells: bool = True) -> tuple[Config, Registry]:
    """The configuration at ``path`` and the plugins, with the options applied; ``tells``: plugins that failed are."""
    config = read_config(options, path)
    return config, registry_of(config, tells)


def read_config(options: Options, path: Path | None) -> Config:
    """The configuration at ``path``, with the options applied."""
    from ccr_core import config as configuration

    config = configuration.load(path)
    if options.log_level is not None:
        config = attrs.evolve(config, log_level=options.log_level)
    return config


def registry_of(config: Config, tells: bool = True) -> Registry:
    """The plugins; ``tells``: those that failed are told."""
    from ccr_core import plugins

    if config.plugins_lock != "off":
        from ccr_core.cli import packages

        # Before anything of a plugin is imported; also at each reload, which may find new ones.
        packages.enforce(home(), config.plugins_lock, config.disabled_plugins)
    registry = plugins.load(disabled=config.disabled_plugins)
    for plugin in registry.plugins if tells else ():
        if plugin.state == "failed":
            note(f"plugin {plugin} failed and is left out: {plugin.reason}")
    return registry


def _log_to_stderr(config: Config, who: str = "") -> None:
    """Show the router's own log, of ``who``, and only warnings of the libraries."""
    import logging

    logging.basicConfig(
        format=f"%(asctime)s %(levelname)s %(name)s{who and f' [{who}]'}: %(message)s", level=logging.WARNING
    )
    set_log_level(config)


def set_log_level(config: Config) -> None:
    """Log as much as ``LOG`` and ``LOG_LEVEL`` say."""
    import logging

    names = {"fatal": "CRITICAL", "warn": "WARNING", "trace": "DEBUG"}
    level = names.get(config.log_level, config.log_level.upper()) if config.log else "ERROR"
    logging.getLogger("ccr").setLevel(level)


@click.command(short_help="Stop the router.")
@click.option("--timeout", type=click.FloatRange(0), default=30, show_default=True, help="Seconds to wait for its end.")
def stop(timeout: float) -> int:
    """Stop the router and wait until it is gone.

    Answers that are on their way may be finished first. If no router runs, there is nothing to do and the exit code
    is 0.

    \b
    Examples:
      ccr stop
      ccr stop --timeout 5

    Exit code: 0 when no router runs any more, 1 when it could not be stopped.
    """
    run = process.stop(home(), timeout)
    print("ccr is not running" if run is None else f"ccr is stopped (it was pid {run.pid} at {run.url})")
    return 0


@click.command(short_help="Stop the router, then start it in the background.")
@_options
@click.option("--timeout", type=click.FloatRange(0), default=30, show_default=True, help="Seconds to wait for its end.")
def restart(timeout: float, **given: Any) -> int:
    """Stop the router, wait until it is gone, and start it in the background.

    Other changes of the configuration take effect without this. The configuration is checked first: if it cannot be
    used, the running router is left alone. Without options the router starts with the options it had; with any, with
    those that are given here.

    \b
    Examples:
      ccr restart                 after an upgrade, or a change of HOST or PORT
      ccr restart --port 4000     and move it to another port

    Exit code: 0 when the new router answers, 1 otherwise.
    """
    folder = home()
    process.make_folder(folder)
    options = Options(**given)
    with process.starting(folder):
        before = process.look(folder).run
        words: Sequence[str] = options.words()
        if before is not None and not words:
            words, options = before.options, _parsed(before.options)
        check(options)
        process.stop(folder, timeout)
        run = process.launch(folder, words)
    print(f"ccr is running at {run.url} (pid {run.pid}); its output goes to {run.log}")
    return 0


def _parsed(words: Sequence[str]) -> Options:
    """Options from the words that :meth:`Options.words` made."""
    parsed = start.make_context("start", list(words), resilient_parsing=True).params
    return Options(**{field.name: parsed[field.name] for field in attrs.fields(Options)})


def check(options: Options) -> tuple[Config, Registry, tuple[str, ...]]:
    """Configuration, plugins and warnings, or ``ConfigError`` with all problems; nothing is started."""
    from ccr_core.runtime import build

    config, registry = prepare(options)
    runtime = build(config, registry)
    return config, registry, runtime.warnings
