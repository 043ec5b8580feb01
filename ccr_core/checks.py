"""What the checks of ``ccr doctor`` are given, and what they find.

A check looks and says; it mends nothing, and it sends nothing anywhere unless the user allowed it (``network``).  It is
given facts, not the router: it must work above all when the router does not.  No fact holds a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from ccr_core.messages import JSON

Level = Literal["ok", "note", "warning", "error"]


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that a check has to say.

    ``level``: ``ok`` (looked at and fine), ``note`` (worth knowing), ``warning`` (may surprise), ``error`` (does not
    work).  ``text`` is a sentence that names the thing; ``mend`` is the command, or the edit, that mends it.
    """

    level: Level
    text: str
    mend: str = ""


@attrs.frozen(kw_only=True)
class ProviderFacts:
    """A provider as the router would use it; ``url`` is where its requests go, ``embedded``: they stay here."""

    name: str
    url: str
    has_key: bool
    embedded: bool = False
    oauth: str | None = None
    key_env: str | None = None
    models: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class CheckContext:
    """All that a check may look at.

    ``home`` is ccr's folder and ``cwd`` the present one, as text; ``environ`` the environment.  ``config`` is the
    configuration as it is written, secrets masked (empty if there is none), ``config_path`` its file, ``problem`` why
    it cannot be used, ``warnings`` what it makes the router warn of, ``unresolved`` its references to variables that
    are not set, as (path, name).  ``providers`` are those that it gives.  ``router`` is what ``ccr status --json``
    prints, ``version`` the version of this ccr, ``url`` where the router is or would be, ``blocked`` why it could not
    listen there.  ``plugins`` is what ``ccr plugins list --json`` lists, ``lock`` what of them is not as
    ``plugins.lock`` has it (rows of ``ccr plugins audit --json``), ``lock_problem`` why that cannot be told.
    ``accounts`` are the accounts signed in, by provider and without their secrets, ``accounts_problem`` says why they
    cannot be read.  ``client`` is what ``ccr code`` runs.  ``proxy`` and ``no_proxy`` are what the router uses.
    ``network``: whether the user allowed connections to other machines.
    """

    home: str
    cwd: str
    environ: Mapping[str, str]
    version: str = ""
    config: Mapping[str, Any] = attrs.Factory(dict)
    config_path: str | None = None
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    unresolved: tuple[tuple[str, str], ...] = ()
    providers: tuple[ProviderFacts, ...] = ()
    router: JSON = attrs.Factory(dict)
    url: str = ""
    blocked: str | None = None
    plugins: tuple[JSON, ...] = ()
    lock: tuple[JSON, ...] = ()
    lock_problem: str | None = None
    accounts: Mapping[str, Mapping[str, JSON]] = attrs.Factory(dict)
    accounts_problem: str | None = None
    client: str = "claude"
    proxy: str | None = None
    no_proxy: tuple[str, ...] = ()
    network: bool = False
