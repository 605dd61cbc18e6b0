"""What `atoll serve --clouds` says once it serves: the sites, what they have in common, what is ambiguous.

Asks the gateway over HTTP as its user would, so what it says is what clients see.
"""

import json
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

SECONDS: Final = 30.0
RECORDED_SECONDS: Final = 10.0
MOST: Final = 8
"""Names said in one line; of more the number is."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway, and a token for it."""

    url: str
    token: str

    def get(self, path: str) -> Mapping[str, Any]:
        """Give the JSON at a path. Raises OSError, ValueError."""
        request = urllib.request.Request(self.url + path, headers={"X-Auth-Token": self.token})  # noqa: S310
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - our own URL
            content: Mapping[str, Any] = json.load(answer)
        return content


def logged_in(url: str, user: str, password: str, project: str) -> Gateway:
    """Log in at a gateway. Raises OSError."""
    domain = {"domain": {"id": "default"}}
    auth = {
        "identity": {
            "methods": ["password"],
            "password": {"user": {"name": user, "password": password, **domain}},
        },
        "scope": {"project": {"name": project, **domain}},
    }
    body = json.dumps({"auth": auth}).encode()
    request = urllib.request.Request(  # noqa: S310 - our own URL
        f"{url}/identity/v3/auth/tokens", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - our own URL
        return Gateway(url, answer.headers["X-Subject-Token"])


def look(gateway: Gateway, say: Callable[[str], None]) -> None:
    """Say what is found, a piece at a time; what cannot be asked is said too."""
    for what, ask in (("sites", _sites), ("flavors", _flavors), ("images", _images), ("networks", _networks)):
        try:
            for line in ask(gateway):
                say(line)
        except (OSError, ValueError, KeyError) as error:
            say(f"{what}: cannot be asked for ({_reason(error)})")


def _sites(gateway: Gateway) -> list[str]:
    lines = []
    for site in gateway.get("/atoll/v1/sites")["sites"]:
        services = []
        for name, one in sorted(site["endpoints"].items()):
            versions = "-".join(one["versions"] or [])
            services.append(
                f"{name} {versions}".strip() if one["healthy"] else f"{name} (away: {one['reason']})"
            )
        zones = _few(site["zones"])
        lines.append(f"site {site['name']}: {', '.join(services)}; zone {zones}")
    return lines


def _flavors(gateway: Gateway) -> list[str]:
    return _shared(gateway, "flavor", gateway.get("/compute/v2.1/flavors/detail")["flavors"])


def _images(gateway: Gateway) -> list[str]:
    return _shared(gateway, "image", gateway.get("/image/v2/images?limit=1000")["images"])


def _shared(gateway: Gateway, resource: str, items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which things several sites have, and which only look like it."""
    same = gateway.get(f"/atoll/v1/same?resource={resource}")
    sites = len(gateway.get("/atoll/v1/sites")["sites"])
    everywhere: list[str] = []
    some: list[str] = []
    for one in same["same"]:
        (everywhere if len(one["ids"]) == sites else some).append(f"{one['name']}")
    plural = f"{resource}s"
    lines = [f"{plural} that match at all sites: {_few(sorted(everywhere)) or 'none'}"]
    if some:
        lines.append(f"{plural} that match at some: {_few(sorted(some))}")
    alone = len(items) - len(same["same"])
    if alone > 0:
        lines.append(f"{plural} of one site: {alone}")
    lines += [f"ambiguous: {one['reason']}" for one in same.get("misses", ())]
    return lines


def _networks(gateway: Gateway) -> list[str]:
    named: dict[str, list[str]] = defaultdict(list)
    for one in gateway.get("/network/v2.0/networks")["networks"]:
        named[one["name"]].append(one["id"])
    lines = []
    for name, ids in sorted(named.items()):
        if name and len(ids) > 1:
            found = [one for ident in ids for one in _locations(gateway, ident)]
            if len({one["site"] for one in found}) < len(found):
                continue  # a site has two of that name: by its name nothing can be meant there either
            places = " ".join(f"{one['site']}={one['id']}" for one in found)
            lines.append(
                f"ambiguous: network {name} is at {len(ids)} sites; if it is one thing: "
                f"atoll same add network {places} --name {name}"
            )
    return lines


def _locations(gateway: Gateway, ident: str) -> Sequence[Mapping[str, Any]]:
    """Where a thing is that was listed: on record a moment after the list."""
    end = time.monotonic() + RECORDED_SECONDS
    while True:
        found: Sequence[Mapping[str, Any]] = gateway.get(f"/atoll/v1/locations/{ident}")["locations"]
        if found or time.monotonic() > end:
            return found
        time.sleep(0.1)


def _few(names: Sequence[str]) -> str:
    if len(names) > MOST:
        return f"{', '.join(names[:MOST])} and {len(names) - MOST} more"
    return ", ".join(names)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code}"
    return str(error) or type(error).__name__
