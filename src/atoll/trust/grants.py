"""As whom a caller acts at a cloud: by the credential of the caller's project, or as an administrator there.

Asked on every request and for every site: answers from memory, at once.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from atoll.core.access_rules import AccessRule
from atoll.core.errors import Forbidden, SiteUnavailable
from atoll.core.key_names import KeyNames
from atoll.core.rewrite import Ids, Others
from atoll.sites.site import Endpoint
from atoll.trust.federation import FederatedCloud, FederatedGrant
from atoll.trust.renewals import Account, Renewals

KEPT: Final = 20_000
"""Grants kept, each with the endpoints of its sites: some 2 KB."""


class Caller(Protocol):
    """Who asks, as the clients' Keystone says."""

    @property
    def user_id(self) -> str:
        """The user."""

    @property
    def project_id(self) -> str:
        """The project."""

    @property
    def is_admin(self) -> bool:
        """Whether the caller is an administrator there."""

    @property
    def token(self) -> bytes:
        """The token."""

    @property
    def roles(self) -> frozenset[str]:
        """The roles in the project."""


class Held:
    """An account, and whose it is: the clients' project and the user who gave it.

    `for_members`: it is used for everybody in the project, were it an administrator's by its roles.
    """

    __slots__ = ("account", "admin", "for_members", "owner", "project_id")

    def __init__(
        self, account: Account, project_id: str, owner: str, *, admin: bool, for_members: bool = False
    ) -> None:
        self.account = account
        self.project_id = project_id
        self.owner = owner
        self.admin = admin
        self.for_members = for_members


class CloudGrant:
    """What one caller is at one cloud: `Grant` of `atoll.sites.site`."""

    __slots__ = (
        "_as_admin", "_grants", "_ids", "_of", "_ordinary", "_project_id", "_renewals", "_user_id", "views",
    )  # fmt: skip

    def __init__(
        self, of: Held, caller: Caller, renewals: Renewals, grants: "Grants", *, as_admin: bool
    ) -> None:
        self._of = of
        self._as_admin = as_admin
        self._ordinary = not (as_admin or caller.is_admin or of.for_members)
        self._grants = grants
        self._project_id = caller.project_id
        self._user_id = caller.user_id
        self._renewals = renewals
        self._ids: Ids | None = None
        self.views: dict[Endpoint, Endpoint] = {}

    @property
    def ids(self) -> Ids:
        """The ids of projects and users there. Raises SiteUnavailable before the first login."""
        if self._ids is None:
            self._ids = self._made()
        return self._ids

    def _made(self) -> Ids:
        account = self._of.account
        if not account.known:
            raise SiteUnavailable(
                f"Atoll has not logged in at the cloud {account.cloud} yet: {account.fault or 'try again'}.",
                retry_after=1,
            )
        own = {self._project_id: account.project_id, self._user_id: account.user_id}
        keys, scope = KeyNames(self._user_id), (self._project_id, account.project_id)
        if self._as_admin:
            known = {**self._grants.projects(account.cloud), **self._grants.owners(account.cloud)}
            # Where the administrator's project there is another's too, it is that other's by name.
            return Ids({**known, **{one: own[one] for one in own if one not in known}}, keys, scope=scope)
        return Ids(own, keys, others=self._grants.others(account.cloud))

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the cloud gives; known once a token was fetched."""
        return self._of.account.roles

    @property
    def rules(self) -> tuple[AccessRule, ...] | None:
        """All that the credential may be used for, None: anything; known once a token was fetched."""
        return self._of.account.rules

    def token(self, now: float) -> bytes | None:
        """A token that can be used at once, if there is one."""
        return None if self._too_much else self._renewals.token(self._of.account, now)

    async def fetch(self) -> bytes:
        """A token, waited for. Raises SiteUnavailable, Forbidden."""
        account = self._of.account
        token = await self._renewals.fetch(account)
        if self._too_much:
            raise Forbidden(
                f"This project's credential {account.id} for the cloud {account.cloud} is an administrator's "
                "there, who sees and may change what is of all projects: it is not used for callers without "
                "an admin role. An application credential made there with --role member would be; "
                "`atoll credential add --replace` takes it."
            )
        return token

    @property
    def _too_much(self) -> bool:
        """Whether the token would let the caller do there what only administrators may."""
        return self._ordinary and self._of.account.administers

    def refused(self, token: bytes) -> None:
        """A site said 401 to this token."""
        self._renewals.refused(self._of.account, token)


class Grants:
    """The grants of all callers: `Granting` of `atoll.gateway.reach`."""

    def __init__(self, renewals: Renewals, federated: Mapping[str, FederatedCloud] | None = None) -> None:
        self._renewals = renewals
        self._federated = federated or {}
        self._of_project: Mapping[tuple[str, str], Held] = {}
        self._admins: Mapping[str, Sequence[Held]] = {}
        self._of_cloud: Mapping[str, Sequence[Held]] = {}
        self._grants: dict[tuple[str, str, str, bool, bool], CloudGrant] = {}
        self._others: dict[str, Others] = {}

    def __call__(self, caller: Caller, cloud: str, as_admin: bool) -> CloudGrant | FederatedGrant | None:
        """How a caller is trusted at a cloud; None: not at all."""
        if (federated := self._federated.get(cloud)) is not None:
            return federated.grant(caller, as_admin=as_admin)
        key = (caller.project_id, caller.user_id, cloud, as_admin, caller.is_admin)
        grant = self._grants.get(key)
        if grant is None:
            grant = self._made(caller, cloud, as_admin=as_admin)
            if grant is not None:
                if len(self._grants) >= KEPT:
                    for old in list(self._grants)[: KEPT // 10]:
                        del self._grants[old]
                self._grants[key] = grant
        return grant

    def _made(self, caller: Caller, cloud: str, *, as_admin: bool) -> CloudGrant | None:
        if not as_admin:
            of = self._of_project.get((caller.project_id, cloud))
            return None if of is None else CloudGrant(of, caller, self._renewals, self, as_admin=False)
        admins = self._admins.get(cloud, ())
        own = (one for one in admins if one.project_id == caller.project_id)
        of = next(own, next(iter(admins), None))
        return None if of is None else CloudGrant(of, caller, self._renewals, self, as_admin=True)

    def projects(self, cloud: str) -> dict[str, str]:
        """The clients' projects that are known at a cloud, and what they are there."""
        return {one.project_id: one.account.project_id for one in self._members(cloud)}

    def owners(self, cloud: str) -> dict[str, str]:
        """The clients' users who gave a credential for a cloud, and who they are there."""
        return {one.owner: one.account.user_id for one in self._members(cloud) if one.owner}

    def others(self, cloud: str) -> Others:
        """The projects of a cloud, made once for all of its grants."""
        found = self._others.get(cloud)
        if found is None:
            found = self._others[cloud] = Others(self.projects(cloud))
        return found

    def _members(self, cloud: str) -> list[Held]:
        return [one for one in self._of_cloud.get(cloud, ()) if one.account.known and not one.admin]

    def take(self, held: Sequence[Held]) -> None:
        """These are all credentials from now on."""
        admins, of_cloud = defaultdict(list), defaultdict(list)
        for one in held:
            of_cloud[one.account.cloud].append(one)
            if one.admin:
                admins[one.account.cloud].append(one)
        self._of_project = {(one.project_id, one.account.cloud): one for one in held if not one.admin}
        self._admins, self._of_cloud = dict(admins), dict(of_cloud)
        self._grants.clear()
        self._others.clear()

    def learnt(self, account: Account) -> None:
        """The ids of an account are known now, or others: what was made of the old ones is made anew."""
        self._others.pop(account.cloud, None)
        for key in [key for key in self._grants if key[2] == account.cloud]:
            del self._grants[key]
