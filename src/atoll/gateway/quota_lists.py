"""The quotas that were set for projects, of all sites together: `GET /network/v2.0/quotas`.

A site lists the projects that it was told of. One that another site was told nothing of has that site's
defaults there, which count as much.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from atoll.core.errors import BadSiteAnswer
from atoll.core.sums import combine
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.parts import Parts

TEMPLATE: Final = "quotas"
_NAMES: Final = ("project_id", "tenant_id")

Quota = dict[str, Any]


async def together(parts: Parts, call: Call, shares: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The list for all sites. Raises SiteUnavailable where a site does not say what its defaults are."""
    listed = {site: _by_project(site, share) for site, share in shares.items()}
    projects = list(dict.fromkeys(project for of_site in listed.values() for project in of_site))
    lacking = [site for site, of_site in listed.items() if len(of_site) < len(projects)]
    defaults = await _defaults(parts, call, lacking, projects[0]) if lacking else {}
    every = [
        of_site.get(project) or {**defaults[site], **dict.fromkeys(_NAMES, project)}
        for project in projects
        for site, of_site in listed.items()
    ]
    return dict(combine([{"quotas": every}]))


async def _defaults(parts: Parts, call: Call, sites: list[str], project: str) -> dict[str, Quota]:
    """What a project has at some sites that was set nothing there."""
    target = f"/v2.0/quotas/{project}/default".encode()
    gathered = await scatter(
        {
            name: parts.forward.ask(call, parts.endpoint(parts.sites.by_name[name], call), b"GET", target)
            for name in sites
        }
    )
    if gathered.failed:
        raise none_answered("its share of the total", gathered.failed)
    found = {}
    for name, answer in gathered.answered.items():
        quota = (bodies.decoded(answer.text) or {}).get("quota") if answer.status == 200 else None
        if not isinstance(quota, dict):
            raise BadSiteAnswer(f"The site {name} answered what are no quotas.", site=name)
        found[name] = {key: value for key, value in quota.items() if key not in _NAMES}
    return found


def _by_project(site: str, share: Mapping[str, Any]) -> dict[str, Quota]:
    try:
        return {one["tenant_id"]: one for one in msgspec.convert(share["quotas"], list[Quota])}
    except (KeyError, msgspec.ValidationError) as error:
        raise BadSiteAnswer(f"The site {site} answered what are no quotas.", site=site) from error
