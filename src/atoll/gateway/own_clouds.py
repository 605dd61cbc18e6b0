"""The clouds that do not know the clients: /atoll/v1/clouds."""

from typing import Annotated

from msgspec import Meta

from atoll.gateway.own_route import Asked, In, NoBody, NoQuery, Out, Paging, Route, Who, page_of
from atoll.gateway.parts import Parts
from atoll.trust.records import CloudRecord

CloudName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class CloudAdd(In, frozen=True, kw_only=True):
    """A cloud: a Keystone, and how its certificate is checked (`cacert`: a path at the gateways)."""

    name: CloudName
    auth_url: Annotated[str, Meta(min_length=1, max_length=2048)]
    verify: bool = True
    cacert: Annotated[str, Meta(max_length=1024, pattern=r"^(/[^\x00-\x1f]*)?$")] = ""


class CloudView(Out, frozen=True, kw_only=True):
    """A cloud. `trouble`: why nobody can be logged in there. `declared`: it is in the configuration."""

    name: str
    auth_url: str
    trust: str
    verify: bool
    declared: bool
    sites: list[str]
    trouble: str


class CloudPage(Out, frozen=True, kw_only=True):
    """A page of the clouds."""

    clouds: list[CloudView]
    next: str | None


class CloudAnswer(Out, frozen=True, kw_only=True):
    """One cloud."""

    cloud: CloudView


async def list_clouds(asked: Asked[Paging, NoBody]) -> CloudPage:
    """List the clouds, by name."""
    trust = asked.parts.trust
    page, marker = page_of(trust.clouds(), asked.query)
    return CloudPage(clouds=[_view(asked.parts, one) for one in page], next=marker)


async def show_cloud(asked: Asked[NoQuery, NoBody]) -> CloudAnswer:
    """Show a cloud."""
    return CloudAnswer(cloud=_view(asked.parts, asked.parts.trust.cloud(*asked.names)))


async def add_cloud(asked: Asked[NoQuery, CloudAdd]) -> CloudAnswer:
    """Add a cloud. Its sites and the credentials for it are added after it."""
    body = asked.body
    record = CloudRecord(name=body.name, auth_url=body.auth_url, verify=body.verify, cacert=body.cacert)
    return CloudAnswer(cloud=_view(asked.parts, await asked.parts.trust.add_cloud(record)))


async def remove_cloud(asked: Asked[NoQuery, NoBody]) -> None:
    """Remove a cloud that has neither sites nor credentials."""
    parts, (name,) = asked.parts, asked.names
    await parts.trust.drop_cloud(name, used_by=_sites(parts, name))


def _sites(parts: Parts, cloud: str) -> list[str]:
    return [site.name for site in parts.sites if site.cloud == cloud]


def _view(parts: Parts, cloud: CloudRecord) -> CloudView:
    return CloudView(
        name=cloud.name,
        auth_url=cloud.auth_url,
        trust=cloud.trust,
        verify=cloud.verify,
        declared=cloud.declared,
        sites=_sites(parts, cloud.name),
        trouble=parts.trust.troubles.get(cloud.name, ""),
    )


ROUTES = (
    Route(method="GET", path="/clouds", who=Who.ANYONE, handle=list_clouds, query=Paging, answer=CloudPage),
    Route(
        method="POST", path="/clouds", who=Who.ADMIN, handle=add_cloud, body=CloudAdd, answer=CloudAnswer,
        status=201,
    ),
    Route(method="GET", path="/clouds/{name}", who=Who.ANYONE, handle=show_cloud, answer=CloudAnswer),
    Route(method="DELETE", path="/clouds/{name}", who=Who.ADMIN, handle=remove_cloud),
)  # fmt: skip
