"""Keystone behind Atoll: passed on as it is, but for the catalogue, which names only Atoll."""

from atoll.services.table import ANY, Kind, Service, row

ROUTES = (
    row("auth/tokens", ANY, Kind.CATALOG),
    row("auth/catalog", "GET", Kind.CATALOG),
    row("auth/OS-FEDERATION/**", ANY, Kind.CATALOG),
    row("**", ANY, Kind.IDENTITY),
)

IDENTITY = Service(
    service_type="identity",
    aliases=(),
    versions=("v3",),
    resources=(),
    rows=ROUTES,
)
