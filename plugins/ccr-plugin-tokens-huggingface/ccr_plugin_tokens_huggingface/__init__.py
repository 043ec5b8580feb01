"""The counter ``huggingface`` of ``tokenizer`` blocks: the ``tokenizer.json`` of a model, from a file.

Nothing is downloaded.  A block that only names a model of the hub works if its file is here already: where the older
tool kept it, or in the cache of the hub's own programs.  Otherwise the log says what to do, and counts are estimates.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

from ccr_core import Counter, CounterSpec, hookimpl

log = logging.getLogger("ccr.tokens-huggingface")

FILE = "tokenizer.json"


@attrs.frozen(kw_only=True)
class Options:
    """Where the tokenizer is: a ``file``, or the id of a ``model`` whose file is here already.

    Only ``file`` is a path: who may change the configuration from afar must not choose which files are read.
    """

    file: Path | None = None
    model: str | None = None

    def __attrs_post_init__(self) -> None:
        """One of them is needed."""
        if self.file is None and not self.model:
            raise ValueError("give file, the path of a tokenizer.json, or model")


class FileCounter(Counter):
    """Counts with a ``tokenizer.json``; it is loaded at the first count."""

    def __init__(self, path: Path) -> None:
        self.name = f"huggingface {path}"
        self._path = path
        self._tokens: Callable[[str], int] | None = None

    def count(self, text: str) -> int:
        """The number of tokens; an estimate from the length if the file cannot be used.  Never raises."""
        try:
            if self._tokens is None:
                self._tokens = load(self._path)
            try:
                return self._tokens(text)
            except (UnicodeEncodeError, TypeError):
                # A lone surrogate, from text that was cut in the middle of a character.
                return self._tokens(text.encode("utf-8", "replace").decode())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the library is no Exception
            log.warning("cannot count with %s (%s); counts are estimates", self._path, error)
            self._tokens = super().count
            return self._tokens(text)


def load(path: Path) -> Callable[[str], int]:
    """The counting function of a ``tokenizer.json``; special tokens in a text are text."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ImportError("install it: pip install ccr-plugin-tokens-huggingface[tokenizers]") from None
    made = Tokenizer.from_file(str(path))
    made.no_truncation()
    made.no_padding()
    made.encode_special_tokens = True
    return lambda text: len(made.encode(text, add_special_tokens=False))


def counter(options: Options) -> Counter:
    """The counter for a block; the estimate, and a warning, if there is no file."""
    path = next((path for path in places(options) if path.is_file()), None)
    if path is not None:
        return FileCounter(path)
    if options.file is not None:
        log.warning("there is no %s; counts are estimates", options.file)
    else:
        log.warning(
            "the tokenizer of %s is not on this machine and is not downloaded; counts are estimates. "
            "Get its tokenizer.json, and name it as file beside type",
            options.model,
        )
    return Counter()


def places(options: Options) -> Iterator[Path]:
    """Where the file may be, the first first."""
    if options.file is not None:
        yield _in(options.file.expanduser())
        return
    model = options.model or ""
    # Where the older tool kept what it had downloaded, in its home, which is ours.
    home = Path(os.environ.get("CCR_HOME") or "~/.claude-code-router").expanduser()
    yield home / ".huggingface" / re.sub(r"[^A-Za-z0-9_-]", "_", model) / FILE
    # The layout of the hub's cache: models--org--name/snapshots/<revision>/.
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface") / "hub")
    yield from sorted(cache.expanduser().glob(f"models--{model.replace('/', '--')}/snapshots/*/{FILE}"))


def _in(path: Path) -> Path:
    return path / FILE if path.is_dir() else path


@hookimpl
def ccr_token_counters() -> Iterable[CounterSpec]:
    """Offer the counter ``huggingface``."""
    yield CounterSpec(
        name="huggingface",
        factory=counter,
        models=(),
        options=Options,
        summary="A model's tokenizer.json, for tokenizer blocks; from a file.",
    )
