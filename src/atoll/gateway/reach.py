"""Which sites a caller reaches, and as whom: the one place where a site becomes an endpoint to send to."""

from collections.abc import Callable

from atoll.core.errors import Forbidden, NotFound
from atoll.gateway.call import Call, Caller
from atoll.sites.site import Endpoint, Grant, Site, Sites

# (the caller, the cloud, whether as its administrator) -> how the caller is trusted there, None: not at all.
Granting = Callable[[Caller, str, bool], Grant | None]


def nobody(caller: Caller, cloud: str, as_admin: bool) -> Grant | None:
    """No cloud but the clients' own."""
    del caller, cloud, as_admin
    return None


class Reach:
    """The sites as the callers see them."""

    def __init__(self, sites: Sites, granting: Granting = nobody) -> None:
        self._sites = sites
        self._granting = granting

    def sites(self, call: Call, service_type: str = "") -> list[Site]:
        """The sites that have a service and where the caller is somebody, in order.

        Where the caller's project has no credential there is nothing of it: such a site is not missing.
        """
        service_type = service_type or call.service_type
        return [
            site
            for site in self._sites.with_service(service_type)
            if site.cloud is None or self._granting(call.caller, site.cloud, False) is not None
        ]

    def default(self, call: Call) -> Site:
        """The site for what belongs to no other: the first that the caller reaches where it is not that."""
        default = self._sites.default
        if self.reaches(call, default) and call.service_type in default.endpoints:
            return default
        return next(iter(self.sites(call)), default)

    def reaches(self, call: Call, site: Site) -> bool:
        """Whether the caller is somebody at a site."""
        return site.cloud is None or self._granting(call.caller, site.cloud, False) is not None

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
            who = "an administrator's" if call.as_admin else "a"
            raise Forbidden(
                f"Atoll has not got {who} credential for this project at the site {site.name}. "
                "`atoll credential add` gives it one.",
                site=site.name,
            )
        return endpoint.granted(grant)

    def administers(self, call: Call, site: Site) -> bool:
        """Whether a call could be made as an administrator of a site's cloud."""
        return site.cloud is None or self._granting(call.caller, site.cloud, True) is not None

    def known(self, site: Site, caller: Caller) -> Grant | None:
        """How an ordinary caller is trusted at a site of another cloud."""
        return self._granting(caller, site.cloud or "", False)
