"""Accounts in a file that only its owner can read: ``auth.json``, or what ``CCR_AUTH_FILE`` names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import attrs

from ccr_core import FileStore, TokenStore, TokenStoreSpec, hookimpl


@attrs.frozen(kw_only=True)
class Options:
    """``path`` of the file; ``CCR_AUTH_FILE`` wins."""

    path: Path | None = None


def make(options: Options, home: Path) -> TokenStore:
    """The store."""
    chosen = os.environ.get("CCR_AUTH_FILE") or options.path or home / "auth.json"
    return FileStore(Path(chosen).expanduser())


@hookimpl
def ccr_token_stores() -> Iterable[TokenStoreSpec]:
    """The store ``file``."""
    return [
        TokenStoreSpec(
            name="file", factory=make, options=Options, summary="Keep accounts in auth.json, readable by you alone."
        )
    ]
