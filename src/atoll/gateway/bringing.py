"""Which sites have a thing that a run is to bring to others: looked up when the run is asked for."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from atoll.core.errors import BadRequest, Conflict, NotFound
from atoll.gateway.call import Call
from atoll.gateway.fanout import scatter
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.parts import Parts
from atoll.services.catalog import SERVICES


class Bringing(NamedTuple):
    """From where to where."""

    source: str
    targets: list[str]


class Sought(NamedTuple):
    """A thing by its type, id and path, and what a site's answer is like that has it."""

    service: str
    resource: str
    id: str
    path: str
    there: Callable[[SiteAnswer], bool]


def there(answer: SiteAnswer) -> bool:
    """Whether the site shows it."""
    return answer.status == 200


async def bringing(
    parts: Parts, call: Call, sought: Sought, asked: Sequence[str], source: str, *, as_admin: bool = False
) -> Bringing:
    """Look where a thing is, as the caller sees it. `asked`: the sites that are to have it; none: all.

    Raises `BadRequest` for sites that are not there, `NotFound`, `Conflict` where the sites are of several
    clouds, and `Forbidden` where Atoll could not act as the operator of one of them.
    """
    aside = call.aside(call.deadline, versioned=False)
    aside.service, aside.as_admin = SERVICES[sought.service], as_admin
    sites = {site.name: site for site in parts.reach.sites(aside, sought.service)}
    for name in (*asked, *filter(None, [source])):
        if name not in sites:
            known = ", ".join(sites)
            text = f"There is no site {name} with the service {sought.service}: there are {known}."
            raise BadRequest(text, resource="site", id=name)
    gathered = await scatter(
        {
            name: parts.forward.ask(
                aside, parts.endpoint(site, aside), b"GET", sought.path.encode(), why="a run"
            )
            for name, site in sites.items()
        }
    )
    having = [name for name in sites if name in gathered.answered and sought.there(gathered.answered[name])]
    source = source or next(iter(having), "")
    if source not in having:
        where = f" at {source}" if source else ""
        text = f"There is no {sought.resource} {sought.id} that could be copied{where}."
        raise NotFound(text, resource=sought.resource, id=sought.id)
    targets = [name for name in dict.fromkeys(asked or sites) if name != source]
    if not targets:
        text = f"The {sought.resource} {sought.id} is at {source} already."
        raise BadRequest(text, resource=sought.resource, id=sought.id)
    for name in targets:
        if sites[name].cloud != sites[source].cloud:
            # What is copied names its projects by the ids of the source's Keystone.
            raise Conflict(
                f"{source} and {name} have a Keystone each: what is copied from one to the other would be of "
                "projects that are not there. Between them it has to be made anew.",
                resource=sought.resource,
                id=sought.id,
            )
    await parts.operator.require(aside, (sites[name] for name in (source, *targets)))
    return Bringing(source, targets)
