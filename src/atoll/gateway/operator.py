"""What runs ask of sites as the operator: by Atoll's own user, or an administrator's credential."""

from collections.abc import Iterable

from atoll.core.errors import Forbidden
from atoll.gateway.asking import SiteAsker
from atoll.gateway.call import Call, Caller
from atoll.gateway.forward import Forward
from atoll.gateway.reach import Reach
from atoll.sites.site import Site, Sites
from atoll.trust.service_user import ServiceUser


class _Operator:
    """`Who` of `asking`: Atoll's own user at sites of the clients' Keystone, at others the administrator."""

    name = "Atoll's user"
    admin = True

    def __init__(self, user: ServiceUser) -> None:
        self._user = user

    async def caller(self, site: Site) -> Caller:
        """Who it is at a site. Raises `Forbidden`, `SiteUnavailable`."""
        token, user_id, project_id = b"", "", ""
        if site.cloud is None:
            login = await self._user.login()
            token, user_id, project_id = login.token, login.user_id, login.project_id
        return Caller(
            token=token,
            user_id=user_id,
            project_id=project_id,
            roles=frozenset({"admin"}),
            is_admin=True,
            until=float("inf"),
        )

    def refused(self, token: bytes) -> bool:
        """A site said 401 to this token: there will be a new one."""
        self._user.refused(token)
        return True


class Operator(SiteAsker):
    """Asks sites as their operator."""

    def __init__(self, sites: Sites, reach: Reach, forward: Forward, user: ServiceUser) -> None:
        super().__init__(sites, reach, forward, _Operator(user))
        self._user = user

    async def require(self, call: Call, sites: Iterable[Site]) -> None:
        """Raise `Forbidden` where Atoll could not act as the operator of a site."""
        for site in sites:
            if site.cloud is None:
                await self._user.login()
            elif not self._reach.administers(call, site):
                raise Forbidden(
                    f"Atoll has no administrator's credential for the site {site.name}: "
                    "`atoll credential add --admin` gives it one.",
                    site=site.name,
                )

    def operates(self, call: Call, site: Site) -> bool:
        """Whether Atoll has what it takes to act as the operator of a site, as far as is known."""
        return self._user.configured if site.cloud is None else self._reach.administers(call, site)
