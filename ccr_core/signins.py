"""The ways to sign in and their accounts, for whoever looks after them: the command line and the management API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ccr_core.accounts import Account, Accounts, accounts_of, described
from ccr_core.auth import Auth, Flow
from ccr_core.config import Config, Problems, did_you_mean
from ccr_core.errors import AuthError, CcrError
from ccr_core.login import Http, quietly
from ccr_core.messages import JSON
from ccr_core.plugins import Registry
from ccr_core.runtime import make_auth, make_store
from ccr_core.spec import AuthSpec
from ccr_core.tokenstore import TokenStore, remove


class SignIns:
    """The sign-ins of a registry and what is stored of them; ``ConfigError`` if the store cannot be used."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self.config = config
        self.registry = registry
        problems = Problems()
        store = make_store(config, registry, problems)
        problems.raise_if_any(config.source)
        assert store is not None
        self.store: TokenStore = store

    def specs(self) -> dict[str, AuthSpec]:
        """The ways to sign in, by name."""
        return {name: contributed.value for name, contributed in sorted(self.registry.auth.items())}

    def spec(self, provider: str) -> AuthSpec:
        """One way to sign in; raise ``CcrError`` with the known ones."""
        specs = self.specs()
        if provider not in specs:
            known = ", ".join(specs) or "none is installed"
            near = did_you_mean(provider, specs)
            raise CcrError(f'no sign-in "{provider}"{near}; there are: {known}{self.registry.failed()}')
        return specs[provider]

    def auth(self, provider: str) -> Auth[Any]:
        """The code of one way to sign in."""
        problems = Problems()
        auth = make_auth(provider, self.config, self.registry, problems)
        problems.raise_if_any(self.config.source)
        assert auth is not None
        return auth

    def accounts(self, provider: str) -> Accounts:
        """The accounts of one provider, ready to be used."""
        return Accounts(self.spec(provider), self.auth(provider), self.store, http=self.http)

    def http(self, proxy: str | None = None) -> Http:
        """What sends requests to login services."""
        return Http(proxy or self.config.proxy_url, self.config.no_proxy)

    def stored(self, provider: str | None = None) -> list[Account]:
        """The accounts that are kept: all, or those of one provider."""
        providers = self.store.read()
        return [
            account
            for name in sorted(providers)
            if provider in (None, name)
            for account in accounts_of(providers, name)
        ]

    def rows(self, provider: str | None = None) -> list[JSON]:
        """The accounts for people and programs; nothing in it is secret."""
        now = time.time()
        specs = self.specs()
        stored = self.store.read()
        rows = []
        for account in self.stored(provider):
            key = stored[account.provider]["accounts"][account.id].get("key")
            rows.append(described(account, specs.get(account.provider), now, key))
        return rows

    async def ask(
        self,
        provider: str,
        account: str | None,
        flow: Callable[[Auth[Any], Any], Flow[Any]],
        accounts: Accounts | None = None,
    ) -> Any:
        """Run a flow of a provider with a token that is fresh.  ``accounts``: those that are in use already."""
        accounts = accounts or self.accounts(provider)
        keys = accounts.keys()
        key = next((key for key in keys if account in (None, key.id)), None)
        if key is None and account is not None:
            raise AuthError(f"{provider} has no account {account}; ccr auth list shows them")
        key = await accounts.fresh(key)
        return await asyncio.to_thread(quietly, flow(accounts.auth, key.token if key else None), self.http())

    def sign_out(self, account: Account) -> str:
        """Forget an account, after the vendor is told where it takes that; gives what the user should know."""
        told = ""
        if account.provider in self.specs() and account.kind == "oauth":
            try:
                told = quietly(self.auth(account.provider).revoke(account.token), self.http(account.proxy))
            except CcrError as error:
                told = f"note: the vendor could not be told: {error.message}"
        remove(self.store, account.provider, account.id)
        return told
