"""Which sites a caller reaches, and as whom: the one place where a site becomes an endpoint to send to."""

from collections.abc import Awaitable, Callable, Iterable

from atoll.core.errors import Forbidden, NotFound
from atoll.core.rewrite import Ids
from atoll.gateway.call import Call, Caller
from atoll.sites.site import Endpoint, Grant, Site, Sites

# (the caller, the cloud, whether as its administrator) -> how the caller is trusted there, None: not at all.
Granting = Callable[[Caller, str, bool], Grant | None]


def nobody(caller: Caller, cloud: str, as_admin: bool) -> Grant | None:
    """No cloud but the clients' own."""
    del caller, cloud, as_admin
    return None


# (the caller, clouds): find out where the caller is anybody, as far as that takes asking.
Settling = Callable[[Caller, Iterable[str | None]], Awaitable[None]]


async def _settled(caller: Caller, clouds: Iterable[str | None]) -> None:
    """Nothing is to be found out."""
    del caller, clouds


class _Anybody:
    """What somebody without a token is at any cloud: `Grant` of `atoll.sites.site`."""

    ids = Ids({})
    rules = None

    def __init__(self) -> None:
        self.views: dict[Endpoint, Endpoint] = {}

    @staticmethod
    def token(now: float) -> bytes:
        """No token: an empty header is none."""
        del now
        return b""

    async def fetch(self) -> bytes:
        """No token."""
        return b""

    def refused(self, token: bytes) -> None:
        """Nothing to be forgotten."""


class Reach:
    """The sites as the callers see them. `why_not` says why a caller is nobody at a cloud, if known."""

    def __init__(
        self,
        sites: Sites,
        granting: Granting = nobody,
        settling: Settling = _settled,
        why_not: Callable[[Caller, str], str] = lambda _, __: "",
    ) -> None:
        self._sites = sites
        self._granting = granting
        self._settling = settling
        self._why_not = why_not
        self._anybody = _Anybody()

    async def settle(self, call: Call) -> None:
        """Find out at which clouds the caller is anybody, before `sites` are asked for all together."""
        clouds = (site.cloud for site in self._sites.with_service(call.service_type))
        await self._settling(call.caller, clouds)

    def sites(self, call: Call, service_type: str = "") -> list[Site]:
        """The sites that have a service and where the caller is somebody, in order.

        Where the caller's project has no credential there is nothing of it: such a site is not missing. What
        an administrator asks of whole clouds is there too, where an administrator's credential is.
        """
        service_type = service_type or call.service_type
        return [site for site in self._sites.with_service(service_type) if self.reaches(call, site)]

    def administered(self, call: Call) -> list[Site]:
        """The sites that have the service and at whose clouds the caller could act as an administrator."""
        if not call.caller.is_admin:
            return []
        return [site for site in self._sites.with_service(call.service_type) if self.administers(call, site)]

    def default(self, call: Call) -> Site:
        """The site for what belongs to no other: the first that the caller reaches where it is not that."""
        default = self._sites.default
        if self.reaches(call, default) and call.service_type in default.endpoints:
            return default
        return next(iter(self.sites(call)), default)

    def reaches(self, call: Call, site: Site) -> bool:
        """Whether the caller is somebody at a site."""
        if site.cloud is None or self._granting(call.caller, site.cloud, False) is not None:
            return True
        return call.as_admin and self._granting(call.caller, site.cloud, True) is not None

    def endpoint(self, site: Site, call: Call, service_type: str = "") -> Endpoint:
        """An endpoint of a site as the caller uses it.

        Raises NotFound where the site has no such service, Forbidden where the caller may not go.
        """
        service_type = service_type or call.service_type
        endpoint = site.endpoints.get(service_type)
        if endpoint is None:
            raise NotFound(f"The site {site.name} has no service {service_type}.", site=site.name)
        if site.cloud is None:
            return endpoint
        grant = self._granting(call.caller, site.cloud, call.as_admin)
        if grant is None:
            if why := self.why_not(call, site):
                raise Forbidden(f"The site {site.name} has nothing for this caller: {why}", site=site.name)
            who = "an administrator's" if call.as_admin else "a"
            raise Forbidden(
                f"Atoll has not got {who} credential for this project at the site {site.name}. "
                "`atoll credential add` gives it one.",
                site=site.name,
            )
        return endpoint.granted(grant)

    def why_not(self, call: Call, site: Site) -> str:
        """Why the caller is nobody at a site; "" where that is for want of a credential."""
        return self._why_not(call.caller, site.cloud) if site.cloud is not None else ""

    def administers(self, call: Call, site: Site) -> bool:
        """Whether a call could be made as an administrator of a site's cloud."""
        return site.cloud is None or self._granting(call.caller, site.cloud, True) is not None

    def anybody(self, site: Site, service_type: str) -> Endpoint:
        """An endpoint as somebody without a token uses it; the clients' own token stays with their cloud."""
        endpoint = site.endpoints[service_type]
        return endpoint if site.cloud is None else endpoint.granted(self._anybody)

    def known(self, site: Site, caller: Caller) -> Grant | None:
        """How an ordinary caller is trusted at a site of another cloud."""
        return self._granting(caller, site.cloud or "", False)
