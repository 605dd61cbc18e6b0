"""Hosts as administrators see them: both sites' in pages, with the zones that users name."""

from typing import Any


def walked(admin: Any, path: str, plural: str, version: str) -> list[dict[str, Any]]:
    """All items of a list, a page of one at a time, by the links that lead on."""
    items: list[dict[str, Any]] = []
    seen = set()
    while path and path not in seen:
        seen.add(path)
        answer = admin.compute.get(path, microversion=version)
        assert answer.status_code == 200, answer.text
        content = answer.json()
        items += content[plural]
        links = [one["href"] for one in content.get(f"{plural}_links", []) if one["rel"] == "next"]
        path = links[0] if links else ""
    return items


def test_hypervisors_of_all_sites_come_in_pages(admin):
    whole = admin.compute.get("/os-hypervisors/detail", microversion="2.88").json()["hypervisors"]
    ids = [one["id"] for one in whole]
    assert len(ids) >= 2
    for path in ("/os-hypervisors/detail?limit=1", "/os-hypervisors?limit=1"):
        assert [one["id"] for one in walked(admin, path, "hypervisors", "2.88")] == ids
    for one in ids:
        shown = admin.compute.get(f"/os-hypervisors/{one}", microversion="2.88")
        assert shown.json()["hypervisor"]["id"] == one


def test_migrations_of_all_sites_come_in_pages(admin):
    whole = admin.compute.get("/os-migrations", microversion="2.80").json()["migrations"]
    pages = walked(admin, "/os-migrations?limit=1", "migrations", "2.80")
    assert [one["uuid"] for one in pages] == [one["uuid"] for one in whole]


def test_the_zones_of_hosts_are_those_that_users_name(admin):
    zones = admin.compute.get("/os-availability-zone/detail").json()["availabilityZoneInfo"]
    of_host = {host: zone["zoneName"] for zone in zones for host in zone["hosts"] or ()}
    services = admin.compute.get("/os-services").json()["services"]
    computes = [one for one in services if one["binary"] == "nova-compute"]
    assert len({one["zone"] for one in computes}) == 2
    for one in computes:
        assert of_host[one["host"]] == one["zone"]
        hosts = admin.compute.get(f"/os-services?binary=nova-compute&host={one['host']}").json()["services"]
        assert [found["zone"] for found in hosts] == [one["zone"]]
