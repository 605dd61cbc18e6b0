"""The sites: /atoll/v1/sites. What a check looks at is in `site_check`, what is shown in `site_views`."""

import time
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from atoll.core.errors import Conflict
from atoll.gateway.own_route import Asked, In, NoBody, NoQuery, Out, Paging, Route, Who, page_of
from atoll.gateway.site_check import Catalogs, check, tell
from atoll.gateway.site_views import SiteView, site_view, there
from atoll.inventory import changes
from atoll.inventory.records import SiteRecord, SiteSeenRecord, SiteStateRecord, State
from atoll.sites.addresses import require_public
from atoll.store import Ledger

Name = Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Region = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f]*$")]
Url = Annotated[str, Meta(max_length=1024)]
Store = Annotated[str, Meta(max_length=63, pattern=r"^[^\x00-\x1f]*$")]
Reason = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f]*$")]


class SiteAdd(In, frozen=True, kw_only=True):
    """A site with the endpoints that requests are to go to: they are pinned."""

    name: Name
    region: Region
    endpoints: Annotated[dict[str, Url], Meta(min_length=1, max_length=16)]
    cloud: Annotated[str, Meta(max_length=63)] | None = None
    """The cloud whose Keystone the site believes; null: the clients' own."""
    number: Annotated[int, Meta(ge=0, le=changes.LAST_NUMBER)] | None = None
    """Stands in the upper bits of its integer ids, for ever. Without one it is given the next free one."""
    backup_store: Store = ""
    """A name for where its Cinder keeps backups: sites of one name can read each other's."""
    state: State = "enabled"
    reason: Reason = ""


class SiteSet(In, frozen=True, kw_only=True):
    """What of a site is to be changed; with `revision` only if it still has that."""

    region: Region | UnsetType = UNSET
    cloud: Annotated[str, Meta(max_length=63)] | UnsetType | None = UNSET
    backup_store: Store | UnsetType = UNSET
    endpoints: dict[str, Url | None] | UnsetType = UNSET
    """The services named here get another endpoint, or (null) none; the others keep theirs."""
    revision: Annotated[str, Meta(max_length=64)] = ""


class WithReason(In, frozen=True, kw_only=True):
    """Why, in words that clients are shown."""

    reason: Reason = ""


class MustSay(In, frozen=True, kw_only=True):
    """Why, in words that clients are shown."""

    reason: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f]*$")]


class Removal(In, frozen=True, kw_only=True):
    """Whether what is on record of the site is to be forgotten."""

    forget: bool = False


class CatalogQuery(In, frozen=True, kw_only=True):
    """Which region of which cloud; without a cloud the clients' own."""

    region: Region
    cloud: Annotated[str, Meta(max_length=63)] = ""


class SitePage(Out, frozen=True, kw_only=True):
    """A page of the sites."""

    sites: list[SiteView]
    next: str | None


class SiteAnswer(Out, frozen=True, kw_only=True):
    """One site."""

    site: SiteView


class CatalogAnswer(Out, frozen=True, kw_only=True):
    """What the catalogue of a cloud says of a region: the URL of each service, as users are to reach it."""

    region: str
    endpoints: dict[str, str]


async def list_sites(asked: Asked[Paging, NoBody]) -> SitePage:
    """List the sites, by name."""
    inventory = there(asked.parts)
    views = {site.name: site_view(asked.parts, site, inventory) for site in asked.parts.sites}
    page, marker = page_of(views, asked.query)
    return SitePage(sites=page, next=marker)


async def show_site(asked: Asked[NoQuery, NoBody]) -> SiteAnswer:
    """Show a site."""
    return _answer(asked, asked.names[0])


async def add_site(asked: Asked[NoQuery, SiteAdd]) -> SiteAnswer:
    """Add a site: every gateway serves it within seconds.

    Users see at once what they have there. What is shared (flavors, images, keypairs, volume types) is asked
    of sites that have it until it is there too.
    """
    body, parts = asked.body, asked.parts
    await _check_targets(asked, body.cloud, list(body.endpoints.values()))
    record = SiteRecord(
        name=body.name,
        region=body.region,
        number=-1,
        endpoints=body.endpoints,
        cloud=body.cloud,
        backup_store=body.backup_store,
        added_at=time.time(),
        added_by=asked.caller.user_id,
    )

    def work(ledger: Ledger) -> None:
        changes.add_site(parts.config, ledger, record, body.number)
        if body.state != "enabled":
            ledger.put(_state(asked, body.name, body.state, body.reason))

    await parts.registry.change(work)
    return _answer(asked, body.name)


async def set_site(asked: Asked[NoQuery, SiteSet]) -> SiteAnswer:
    """Change a site: its region, its cloud, or where its endpoints are pinned."""
    (name,) = asked.names
    body, parts = asked.body, asked.parts
    entry = changes.own_site(there(parts), name, "changed")
    settings = entry.settings
    endpoints = dict(settings.endpoints)
    given = {} if body.endpoints is UNSET else body.endpoints
    endpoints.update({service: url for service, url in given.items() if url is not None})
    for service in [service for service, url in given.items() if url is None]:
        endpoints.pop(service, None)
    cloud = (settings.cloud or None) if body.cloud is UNSET else body.cloud
    await _check_targets(asked, cloud, [url for url in given.values() if url is not None])
    revision = body.revision or changes.revision_of(entry)

    def work(ledger: Ledger) -> None:
        before = ledger.get(SiteRecord, name)
        if before is None:
            raise Conflict(f"The site {name} was removed just now.", resource="site", id=name)
        region = before.region if body.region is UNSET else body.region
        store = before.backup_store if body.backup_store is UNSET else body.backup_store
        record = msgspec.structs.replace(
            before, region=region, cloud=cloud, endpoints=endpoints, backup_store=store
        )
        changes.set_site(parts.config, ledger, record, revision)

    await parts.registry.change(work)
    return _answer(asked, name)


async def remove_site(asked: Asked[Removal, NoBody]) -> None:
    """Remove a site: nothing is asked of it any more; at the site nothing happens.

    Refused while anything there is on record, unless `forget` says to forget it.
    """
    (name,) = asked.names
    parts = asked.parts
    changes.own_site(there(parts), name, "removed")
    if not asked.query.forget:
        counts = await parts.store.count_by_type(site=name)
        if counts:
            things = ", ".join(f"{number} {kind.replace('_', ' ')}" for (_, kind), number in counts.items())
            raise Conflict(
                f"On record at the site {name} are still: {things}. Delete or move them first, or remove the "
                "site with `--forget`: nobody finds them through Atoll then.",
                resource="site",
                id=name,
            )
    await parts.registry.change(lambda ledger: changes.remove_site(parts.config, ledger, name))
    await parts.locations.forget(name)


async def drain_site(asked: Asked[NoQuery, WithReason]) -> SiteAnswer:
    """Place nothing new at a site; all else goes on."""
    return await _to(asked, "draining", asked.body.reason)


async def maintain_site(asked: Asked[NoQuery, MustSay]) -> SiteAnswer:
    """Let nothing be changed at a site; what can be read there still is.

    Whoever is refused, and every list that misses the site, is told the reason.
    """
    return await _to(asked, "maintenance", asked.body.reason)


async def resume_site(asked: Asked[NoQuery, WithReason]) -> SiteAnswer:
    """Use a site as before."""
    return await _to(asked, "enabled", asked.body.reason)


async def check_site(asked: Asked[NoQuery, NoBody]) -> SiteAnswer:
    """Compare a site with what is set up of it, by the caller's token. Nothing is changed."""
    (name,) = asked.names
    parts = asked.parts
    changes.known_site(there(parts), name)
    before = parts.registry.get(SiteSeenRecord, name)
    seen = await check(parts, asked.call, parts.sites.by_name[name], before)
    await parts.registry.change(lambda ledger: ledger.put(seen))
    tell(seen)
    return _answer(asked, name)


async def read_catalog(asked: Asked[CatalogQuery, NoBody]) -> CatalogAnswer:
    """Read what the catalogue of a cloud says of a region, by the caller's token. Nothing is written down."""
    query = asked.query
    endpoints = await Catalogs(asked.parts).region(asked.call, query.cloud or None, query.region)
    return CatalogAnswer(region=query.region, endpoints=endpoints)


async def _to(
    asked: Asked[NoQuery, WithReason] | Asked[NoQuery, MustSay], state: State, reason: str
) -> SiteAnswer:
    (name,) = asked.names
    record = _state(asked, name, state, reason)
    parts = asked.parts
    await parts.registry.change(lambda ledger: changes.set_state(parts.config, ledger, record))
    return _answer(asked, name)


def _state(
    asked: Asked[NoQuery, WithReason] | Asked[NoQuery, MustSay] | Asked[NoQuery, SiteAdd],
    name: str,
    state: State,
    reason: str,
) -> SiteStateRecord:
    return SiteStateRecord(name=name, state=state, reason=reason, since=time.time(), by=asked.caller.user_id)


async def _check_targets(
    asked: Asked[NoQuery, SiteAdd] | Asked[NoQuery, SiteSet], cloud: str | None, urls: list[str]
) -> None:
    """Raise BadRequest for an address that may not be gone to, NotFound for a cloud that is not there."""
    parts = asked.parts
    if cloud is not None:
        parts.trust.cloud(cloud)
    if not parts.config.limits.private_addresses:
        for url in urls:
            await require_public(url)


def _answer(
    asked: Asked[NoQuery, NoBody]
    | Asked[NoQuery, SiteAdd]
    | Asked[NoQuery, SiteSet]
    | Asked[NoQuery, WithReason]
    | Asked[NoQuery, MustSay],
    name: str,
) -> SiteAnswer:
    inventory = there(asked.parts)
    changes.known_site(inventory, name)
    return SiteAnswer(site=site_view(asked.parts, asked.parts.sites.by_name[name], inventory))


ROUTES = (
    Route(method="GET", path="/sites", who=Who.ADMIN, handle=list_sites, query=Paging, answer=SitePage),
    Route(
        method="POST", path="/sites", who=Who.ADMIN, handle=add_site, body=SiteAdd, answer=SiteAnswer,
        status=201,
    ),
    Route(method="GET", path="/sites/{name}", who=Who.ADMIN, handle=show_site, answer=SiteAnswer),
    Route(
        method="PATCH", path="/sites/{name}", who=Who.ADMIN, handle=set_site, body=SiteSet, answer=SiteAnswer
    ),
    Route(method="DELETE", path="/sites/{name}", who=Who.ADMIN, handle=remove_site, query=Removal),
    Route(
        method="POST", path="/sites/{name}/drain", who=Who.ADMIN, handle=drain_site, body=WithReason,
        answer=SiteAnswer,
    ),
    Route(
        method="POST", path="/sites/{name}/maintain", who=Who.ADMIN, handle=maintain_site, body=MustSay,
        answer=SiteAnswer,
    ),
    Route(
        method="POST", path="/sites/{name}/resume", who=Who.ADMIN, handle=resume_site, body=WithReason,
        answer=SiteAnswer,
    ),
    Route(
        method="POST", path="/sites/{name}/check", who=Who.ADMIN, handle=check_site, body=NoBody,
        answer=SiteAnswer,
    ),
    Route(
        method="GET", path="/catalog", who=Who.ADMIN, handle=read_catalog, query=CatalogQuery,
        answer=CatalogAnswer,
    ),
)  # fmt: skip
