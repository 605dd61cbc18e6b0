"""Clouds and credentials as one gateway has them: what is set up, who logs in, what may be changed.

The configuration's and the store's, put together. What is in the configuration cannot be changed here.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from atoll.core.addresses import checked_url
from atoll.core.errors import BadRequest, Conflict, NotFound, SiteUnavailable
from atoll.core.settings import Config
from atoll.sites.addresses import require_public
from atoll.sites.certificates import CertificatesError, context_of
from atoll.store import Ledger, Registry
from atoll.trust.clouds_yaml import read_entry, v3_url
from atoll.trust.exchange import Terms, exchange, terms_of
from atoll.trust.federation import AT_ONCE_CLOUD, Exchanging, FederatedCloud, Federation
from atoll.trust.grants import Grants, Held
from atoll.trust.login import Login, LoginError, LoginRefused, Options, Replaced, login
from atoll.trust.records import (
    CloudRecord,
    CredentialRecord,
    credential_id,
    declared_clouds,
    declared_credentials,
)
from atoll.trust.renewals import AT_ONCE, Account, Renewals
from atoll.trust.sealing import Sealer, SecretsError, read_key

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 15.0
"""How often it is tried again to log in at clouds where nobody could be."""

API_TYPES: Final = frozenset({"password", "v3password", "v3applicationcredential"})
"""What others than administrators may give: no type that goes to URLs of its own or reads files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredential:
    """A credential to be added."""

    cloud: str
    project_id: str
    admin: bool
    options: Options
    owner: str
    admin_for_members: bool = False


class Trust:
    """What the gateway trusts clouds by. `grants` is asked on every request.

    `told` hears of a cloud where nobody can be logged in, with the reason, and "" when that is over;
    `disowned` of a caller's token that the clients' Keystone knows no more.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        *,
        told: Callable[[str, str], None] = lambda _, __: None,
        disowned: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._registry = registry
        self._told = told
        self._private = config.limits.private_addresses
        self._sealer = Sealer([read_key(one, os.environ) for one in config.secrets.key])
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="login")
        self._exchanges: list[ThreadPoolExecutor] = []
        self._declared_clouds = declared_clouds(config)
        self._declared = declared_credentials(config)
        self._options: dict[str, Options] = {}  # of entries of clouds.yaml, by their names
        self._accounts: dict[str, tuple[CloudRecord | None, CredentialRecord, Account]] = {}
        self.troubles: dict[str, str] = {}
        self.renewals = Renewals(
            self._log_in,
            asyncio.get_running_loop(),
            learnt=lambda account: self.grants.learnt(account),  # noqa: PLW0108 - made after
            trouble=self._trouble,
            hopeless=self._hopeless,
        )
        self.federation = Federation(
            {
                name: FederatedCloud(name, self._exchanging(terms), told=self._note, disowned=disowned)
                for name, terms in terms_of(config).items()
            }
        )
        self.grants = Grants(self.renewals, self.federation.clouds)
        registry.on_change((CloudRecord, CredentialRecord), self._derive)

    def start(self, logins: Mapping[str, Login]) -> None:
        """Take up what the registry has. Raises SecretsError where a key for it is not there.

        `logins` were made just now, by entries of clouds.yaml.
        """
        stored = self._registry.all(CredentialRecord).values()
        self._sealer.check(one.sealed_under for one in stored if one.sealed)
        self._derive()
        for _, record, account in self._accounts.values():
            if record.entry in logins:
                self.renewals.given(account, logins[record.entry])

    async def run(self) -> None:
        """See to it that it is known who each credential is, and which clouds can be logged in at."""
        while True:
            for account in self._to_look_at():
                self.renewals.ahead(account)
            await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """Log nobody in any more."""
        self.renewals.close()
        self.federation.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for threads in self._exchanges:
            threads.shutdown(wait=False, cancel_futures=True)

    # -- what there is ------------------------------------------------------------------------------

    def clouds(self) -> dict[str, CloudRecord]:
        """Every cloud, by name."""
        return {**self._registry.all(CloudRecord), **self._declared_clouds}

    def cloud(self, name: str) -> CloudRecord:
        """One cloud. Raises NotFound."""
        found = self._declared_clouds.get(name) or self._registry.get(CloudRecord, name)
        if found is None:
            there = ", ".join(sorted(self.clouds())) or "none"
            raise NotFound(f"There is no cloud {name}; there are {there}.", resource="cloud", id=name)
        return found

    def credentials(self) -> dict[str, CredentialRecord]:
        """Every credential, by id, with what this gateway has learnt of it."""
        return {ident: self._seen(ident) for ident in self._accounts}

    def credential(self, ident: str) -> CredentialRecord:
        """One credential. Raises NotFound."""
        if ident not in self._accounts:
            raise NotFound(f"There is no credential {ident}.", resource="credential", id=ident)
        return self._seen(ident)

    def _seen(self, ident: str) -> CredentialRecord:
        _, record, account = self._accounts[ident]
        fault = account.fault or ("" if account.token else record.fault)
        if not account.known:
            return msgspec.structs.replace(record, fault=fault)
        return msgspec.structs.replace(
            record,
            site_project_id=account.project_id,
            site_user_id=account.user_id,
            site_domain_id=account.domain_id,
            roles=account.roles or record.roles,
            fault=fault,
        )

    # -- changes ------------------------------------------------------------------------------------

    async def add_cloud(self, record: CloudRecord) -> CloudRecord:
        """Add a cloud. Raises BadRequest for a URL that may not be, Conflict for a name that is taken."""
        record = msgspec.structs.replace(record, auth_url=v3_url(record.auth_url))
        await self._may_go_to(record.auth_url)
        try:
            await asyncio.to_thread(context_of, record.certificates)
        except CertificatesError as error:
            raise BadRequest(f"{error}, at this gateway.") from error
        if record.name in self._declared_clouds:
            raise Conflict(f"There is a cloud {record.name} already.", resource="cloud", id=record.name)

        def work(ledger: Ledger) -> None:
            others = [*self._declared_clouds.values(), *ledger.all(CloudRecord).values()]
            for one in others:
                if one.name == record.name or one.auth_url.lower() == record.auth_url.lower():
                    raise Conflict(
                        f"There is a cloud {one.name} already, at {one.auth_url}.",
                        resource="cloud", id=one.name,
                    )  # fmt: skip
            ledger.put(record)

        await self._registry.change(work)
        return record

    async def drop_cloud(self, name: str, *, used_by: Iterable[str] = ()) -> None:
        """Remove a cloud. Raises NotFound, Conflict while it has credentials or sites (`used_by`)."""
        self._changeable(self.cloud(name).declared, f"The cloud {name}")
        if sites := ", ".join(used_by):
            raise Conflict(f"The cloud {name} still has sites: {sites}.", resource="cloud", id=name)

        def work(ledger: Ledger) -> None:
            left = [one for one in ledger.all(CredentialRecord).values() if one.cloud == name]
            if left:
                raise Conflict(
                    f"The cloud {name} still has {len(left)} credentials: remove them first.",
                    resource="cloud", id=name,
                )  # fmt: skip
            ledger.drop(CloudRecord, name)

        await self._registry.change(work)

    async def add(self, new: NewCredential, *, replace: bool = False) -> CredentialRecord:
        """Log in with a credential and keep it.

        Raises BadRequest where it cannot be logged in with, Conflict where there is one and it is not to be
        replaced, SiteUnavailable where the cloud is away, SecretsError without a key.
        """
        cloud = self.cloud(new.cloud)
        if cloud.trust == "federated":
            raise BadRequest(f"The cloud {cloud.name} is federated: it needs no credential.")
        ident = credential_id(new.cloud, new.project_id, admin=new.admin)
        there = ident in self._declared or (
            not replace and self._registry.get(CredentialRecord, ident) is not None
        )
        taken = Conflict(
            f"The project {new.project_id} has a credential for the cloud {new.cloud} already: {ident}. "
            "It can be replaced.",
            resource="credential", id=ident,
        )  # fmt: skip
        if there:
            raise taken
        options = {"auth_type": new.options.auth_type, "auth": dict(new.options.auth)}
        sealed, under = self._sealer.seal(options)
        try:
            who = await self._in_thread(cloud, new.options)
        except LoginRefused as error:
            raise BadRequest(f"Atoll cannot log in at the cloud {new.cloud} with that: {error}.") from error
        except LoginError as error:
            raise SiteUnavailable(f"Atoll cannot log in at the cloud {new.cloud}: {error}.") from error
        record = CredentialRecord(
            id=ident, cloud=new.cloud, project_id=new.project_id, admin=new.admin,
            admin_for_members=new.admin_for_members, auth_type=new.options.auth_type, sealed=sealed,
            sealed_under=under, owner=new.owner,
            site_project_id=who.project_id, site_user_id=who.user_id, site_domain_id=who.domain_id,
            roles=who.roles, checked_at=time.time(),
        )  # fmt: skip

        def work(ledger: Ledger) -> None:
            if not cloud.declared and ledger.get(CloudRecord, cloud.name) is None:
                raise Conflict(f"The cloud {cloud.name} was removed meanwhile.", resource="cloud")
            if not replace and ledger.get(CredentialRecord, ident) is not None:
                raise taken
            ledger.put(record)

        await self._registry.change(work)
        self.renewals.ahead(self._accounts[ident][2])
        return self.credential(ident)

    async def drop(self, ident: str) -> None:
        """Remove a credential. Raises NotFound."""
        self._changeable(self.credential(ident).declared, f"The credential {ident}")
        await self._registry.change(lambda ledger: ledger.drop(CredentialRecord, ident))

    async def check(self, ident: str) -> CredentialRecord:
        """Log in anew with a credential, whatever went wrong before; its `fault` says how that went."""
        self.credential(ident)
        _, record, account = self._accounts[ident]
        self.renewals.again(account)
        try:
            await self.renewals.login(account)
            fault = ""
        except LoginError as error:
            fault = str(error)
        checked = msgspec.structs.replace(self._seen(ident), fault=fault, checked_at=time.time())
        if not record.declared:

            def work(ledger: Ledger) -> None:
                kept = ledger.get(CredentialRecord, ident)
                if kept is not None and kept.sealed == record.sealed:
                    ledger.put(
                        msgspec.structs.replace(
                            kept, fault=fault, checked_at=checked.checked_at, roles=checked.roles
                        )
                    )

            await self._registry.change(work)
        return checked

    @staticmethod
    def _changeable(declared: bool, what: str) -> None:
        if declared:
            raise Conflict(f"{what} is in the configuration, where it has to be changed.")

    async def _may_go_to(self, url: str) -> None:
        checked_url(url)
        if not self._private:
            await require_public(url)

    # -- logging in ---------------------------------------------------------------------------------

    async def _log_in(self, account: Account) -> Login:
        cloud, record, current = self._accounts.get(account.id, (None, None, None))
        if cloud is None or record is None:
            raise LoginRefused("it was removed")
        if current is not account:
            raise Replaced("it was replaced just now")
        who = await self._in_thread(cloud, await self._options_of(cloud, record))
        warning = msgspec.structs.replace(record, roles=who.roles).warning
        if warning and not account.administers:
            log.warning(
                "credential_of_an_administrator",
                cloud=cloud.name, credential=record.id, project=record.project_id, warning=warning,
            )  # fmt: skip
        return who

    async def _options_of(self, cloud: CloudRecord, record: CredentialRecord) -> Options:
        if not record.entry:
            try:
                opened = self._sealer.open(record.sealed, record.sealed_under)
            except SecretsError as error:
                raise LoginRefused(str(error)) from error
            return Options(auth_type=opened["auth_type"], auth=opened["auth"])
        known = self._options.get(record.entry)
        if known is None:
            loop = asyncio.get_running_loop()
            entry = await loop.run_in_executor(self._threads, read_entry, record.entry)
            if entry.cloud.auth_url.lower() != cloud.auth_url.lower():
                raise LoginRefused(
                    f"the entry {record.entry} of clouds.yaml is for {entry.cloud.auth_url}, "
                    f"the cloud {cloud.name} is at {cloud.auth_url}"
                )
            known = self._options[record.entry] = entry.options
        return known

    async def _in_thread(self, cloud: CloudRecord, options: Options) -> Login:
        loop = asyncio.get_running_loop()
        private = self._private or cloud.declared
        return await loop.run_in_executor(self._threads, lambda: login(cloud, options, private=private))

    def _exchanging(self, terms: Terms) -> Exchanging:
        """Exchanges at one cloud, in threads of its own: one that does not answer holds up no other."""
        threads = ThreadPoolExecutor(AT_ONCE_CLOUD, thread_name_prefix="exchange")
        self._exchanges.append(threads)

        async def exchanging(token: str) -> Login:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(threads, exchange, terms, token)

        return exchanging

    def _trouble(self, cloud: str, reason: str) -> None:
        if reason:
            log.warning("cloud_away", cloud=cloud, reason=reason)
        else:
            log.info("cloud_back", cloud=cloud)
        self._note(cloud, reason)

    def _note(self, cloud: str, reason: str) -> None:
        if reason:
            self.troubles[cloud] = reason
        else:
            self.troubles.pop(cloud, None)
        self._told(cloud, reason)

    def _hopeless(self, cloud: str) -> bool:
        """Whether every credential for a cloud is refused there."""
        there = [account for _, _, account in self._accounts.values() if account.cloud == cloud]
        return all(account.fault for account in there)

    def _derive(self) -> None:
        """Make accounts of what is set up; those of what has not changed keep their tokens."""
        clouds = self.clouds()
        before, self._accounts = self._accounts, {}
        held = []
        for ident, record in {**self._registry.all(CredentialRecord), **self._declared}.items():
            cloud = clouds.get(record.cloud)
            was = before.get(ident)
            if was is not None and was[0] == cloud and _is_still(was[1], record):
                account = was[2]
                put_right = not record.fault and record.checked_at != was[1].checked_at
                if account.fault and (put_right or record.sealed != was[1].sealed):
                    self.renewals.again(account)  # another gateway was told, or the key is another one
            else:
                account = Account(ident, record.cloud)
                account.project_id = record.site_project_id
                account.user_id, account.domain_id = record.site_user_id, record.site_domain_id
            self._accounts[ident] = (cloud, record, account)
            held.append(
                Held(
                    account, record.project_id, record.owner,
                    admin=record.admin, for_members=record.admin_for_members,
                )
            )  # fmt: skip
        self.grants.take(held)

    def _to_look_at(self) -> list[Account]:
        """Accounts nobody has logged in as yet, and one of each cloud of which nothing is known."""
        wanted, seen = [], set()
        for _, record, account in self._accounts.values():
            if account.token is not None:
                seen.add(record.cloud)
            elif not account.known:
                wanted.append(account)
        for _, record, account in self._accounts.values():
            if account.known and account.token is None and record.cloud not in seen:
                seen.add(record.cloud)
                wanted.append(account)
        return wanted


def _is_still(before: CredentialRecord, now: CredentialRecord) -> bool:
    """Whether it is the same credential, be it under another key."""
    if before.sealed != now.sealed:
        before = msgspec.structs.replace(before, sealed=now.sealed, sealed_under=now.sealed_under)
        return before == now
    return before.entry == now.entry
