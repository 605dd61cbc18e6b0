"""Count the servers that came to be at a site, asking the site itself."""

import json
from datetime import UTC, datetime
from typing import Any

from atoll.sandbox.real.api import Cloud
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import Credentials

PAGE = 1000


def site_admin(region: str, layout: Layout) -> Cloud:
    """Give the administrator's view of a running site. Raises `SandboxError` when it is not described."""
    try:
        entry = json.loads(layout.clouds.read_text())["clouds"][f"{region.lower()}-admin"]
    except (FileNotFoundError, KeyError) as missing:
        raise SandboxError(f"no site {region} in {layout.clouds}: start the sandbox first") from missing
    who = entry["auth"]
    credentials = Credentials(
        who["auth_url"],
        who["username"],
        who["password"],
        who["project_name"],
        who["user_domain_name"],
        who["project_domain_name"],
    )
    return Cloud(credentials, region)


def count_servers(region: str, since: datetime, layout: Layout) -> int:
    """Count the servers created at a site since `since` (aware), deleted ones of all projects included."""
    return len(servers_since(site_admin(region, layout), since))


def servers_since(cloud: Cloud, since: datetime) -> list[dict[str, Any]]:
    """Give those servers; nova shows deleted ones by `changes-since`."""
    moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found: dict[str, dict[str, Any]] = {}
    for deleted in ("false", "true"):
        marker = ""
        while True:
            query = f"all_tenants=true&deleted={deleted}&changes-since={moment}&limit={PAGE}{marker}"
            page = cloud.get("compute", f"/servers/detail?{query}")["servers"]
            found.update({server["id"]: server for server in page if server["created"] >= moment})
            if len(page) < PAGE:
                break
            marker = f"&marker={page[-1]['id']}"
    return list(found.values())
