"""Write down how to reach the sites: clouds.yaml and openrc for clients, sites.json for Atoll and tests."""

import json
from typing import Any

from atoll.sandbox.real.api import Cloud, send
from atoll.sandbox.real.configuration import write
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import Credentials, Site

SERVICES = ("compute", "block-storage", "image", "network", "identity", "placement")
OPENRC = """\
export OS_CLIENT_CONFIG_FILE={clouds}
export OS_CLOUD=sandbox-admin
export PATH={bin}:$PATH
export PYTHONWARNINGS=ignore
"""


def entry(credentials: Credentials, regions: list[str]) -> dict[str, Any]:
    """Give a cloud's entry in clouds.yaml.

    A list of regions lets the client choose one; `region_name` would refuse `--os-region-name` of another.
    """
    who = {
        "auth_url": credentials.auth_url,
        "username": credentials.username,
        "password": credentials.password,
        "project_name": credentials.project,
        "user_domain_name": credentials.user_domain,
        "project_domain_name": credentials.project_domain,
    }
    region = {"region_name": regions[0]} if len(regions) == 1 else {"regions": regions}
    return {"auth": who, "identity_api_version": 3, "interface": "public", **region}


def clouds(sites: list[Site]) -> dict[str, Any]:
    """Give the entries: `sandbox` and `sandbox-admin` for all regions, and two for each site alone.

    The older site has three: `regionold-admin`, and `regionold` and `regionold2` for its two users.
    """
    ours = [site for site in sites if not site.older]
    entries = {}
    if ours:
        keystone, regions = ours[0].keystone, [site.region for site in ours]
        entries["sandbox-admin"] = entry(keystone.admin_credentials, regions)
        entries["sandbox"] = entry(keystone.credentials(keystone.users[0]), regions)
    for site in sites:
        name, keystone = site.region.lower(), site.keystone
        entries[f"{name}-admin"] = entry(keystone.admin_credentials, [site.region])
        entries[name] = entry(keystone.credentials(keystone.users[0]), [site.region])
        if site.older:
            entries[f"{name}2"] = entry(keystone.credentials(keystone.users[1]), [site.region])
    return entries


def describe(site: Site) -> dict[str, Any]:
    """Ask a running site for its entry in sites.json.

    {name, region, auth_url, endpoints {service type: url}, zones {service type: [name]}, public_network_id,
    versions {service type: [min, max]}, computes, release, cloud, admin_cloud}; the endpoints are without a
    project id.
    """
    cloud = Cloud(site.keystone.admin_credentials, site.region)
    project = cloud.project_id
    zones = cloud.get("compute", "/os-availability-zone")["availabilityZoneInfo"]
    volume_zones = cloud.get("block-storage", "/os-availability-zone")["availabilityZoneInfo"]
    public = cloud.get("network", "/v2.0/networks?name=public")["networks"][0]
    return {
        "name": site.region,
        "region": site.region,
        "release": site.release.name,
        "cloud": site.region.lower(),
        "admin_cloud": f"{site.region.lower()}-admin",
        "auth_url": site.keystone.url,
        "computes": site.computes,
        "endpoints": {service: cloud.endpoint(service).removesuffix(f"/{project}") for service in SERVICES},
        "zones": {
            "compute": [zone["zoneName"] for zone in zones],
            "block-storage": [zone["zoneName"] for zone in volume_zones],
        },
        "public_network_id": public["id"],
        "versions": {
            "compute": _versions(cloud, "compute"),
            "block-storage": _versions(cloud, "block-storage"),
        },
    }


def _versions(cloud: Cloud, service: str) -> list[str]:
    url = cloud.endpoint(service).removesuffix(f"/{cloud.project_id}")
    document = send("GET", f"{url}/", {"X-Auth-Token": cloud.token})[1]  # cinder asks for one
    version = document.get("version") or document["versions"][0]
    return [version.get("min_version", ""), version.get("version", "")]


def write_descriptions(layout: Layout, sites: list[Site], described: list[dict[str, Any]]) -> None:
    """Write the three files; JSON is YAML."""
    write(layout.clouds, json.dumps({"clouds": clouds(sites)}, indent=1))
    layout.clouds.chmod(0o600)
    write(layout.run / "openrc", OPENRC.format(clouds=layout.clouds, bin=layout.venv / "bin"))
    write(layout.description, json.dumps(described, indent=1))
