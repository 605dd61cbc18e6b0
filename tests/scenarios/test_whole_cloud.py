"""Volumes, images and networks as servers: R1, R2, R4, R9, R13 and R19 of what earlier gateways got wrong."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.raw import connected
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import SERVERS, ZONES, Client, boot, client_of, dumped, sql
from tests.scenarios.test_images_over_sites import head
from tests.scenarios.test_locations import BROKEN

from atoll.sandbox.simulated import Cloud, Fault, Site

VOLUME, IMAGE, NETWORK = "/block-storage/v3", "/image/v2", "/network/v2.0"
PATCH = "application/openstack-images-v2.1-json-patch"
ODD = {"deep": [1, 2.50, 1e3, None, "\U0001f600"], "é": ""}


async def made(user: Client, path: str, envelope: str, **fields: Any) -> str:
    """A thing; its id."""
    answer = await user.post(path, json={envelope: fields} if envelope else fields)
    assert answer.status_code < 300, answer.text
    content = answer.json()
    return str((content[envelope] if envelope else content)["id"])


def received(cloud: Cloud, service: str, body: bytes) -> list[str]:
    """The sites where a body arrived as it is, byte for byte."""
    kept = {"volume": "block_storage", "image": "image", "network": "network"}[service]
    return [site.name for site in cloud.sites if body in getattr(site, kept).received]


# -- R1 -------------------------------------------------------------------------------------------

CREATES: dict[str, tuple[str, str, Any]] = {
    "volume": ("volume", f"{VOLUME}/volumes", {
        "volume": {"size": 1, "name": "é", "metadata": {"availability_zone": "zone1"}, "multiattach": False,
                   "consistencygroup_id": None, "some:extension": ODD},
        "OS-SCH-HNT:scheduler_hints": {"different_host": [], "custom": ODD}}),
    "network": ("network", f"{NETWORK}/networks", {
        "network": {"name": "é", "mtu": 1400, "port_security_enabled": False, "dns_domain": "x.",
                    "vlan_transparent": None, "some:extension": ODD}}),
    "router": ("network", f"{NETWORK}/routers", {
        "router": {"name": "r", "admin_state_up": True, "some:extension": ODD}}),
    "group": ("network", f"{NETWORK}/security-groups", {
        "security_group": {"name": "g", "stateful": False, "some:extension": ODD}}),
}  # fmt: skip


@pytest.mark.parametrize("kind", CREATES)
async def test_every_field_of_a_create_arrives_as_it_was_written(
    user: Client, cloud: Cloud, kind: str
) -> None:
    service, path, content = CREATES[kind]
    body = dumped(content)
    await user.post(path, content=body, headers={"Content-Type": "application/json"})
    assert len(received(cloud, service, body)) == 1


async def test_every_field_of_an_update_arrives_as_it_was_written(user: Client, cloud: Cloud) -> None:
    """Also what the networking of earlier ones stripped: fixed addresses, policies, IPv6, extensions."""
    volume = await made(user, f"{VOLUME}/volumes", "volume", size=1)
    network = await made(user, f"{NETWORK}/networks", "network", name="n")
    subnet = await made(
        user, f"{NETWORK}/subnets", "subnet", network_id=network, cidr="2001:db8::/64", ip_version=6
    )
    port = await made(user, f"{NETWORK}/ports", "port", network_id=network)
    image = await made(user, f"{IMAGE}/images", "", name="i", disk_format="raw", container_format="bare")
    json = "application/json"
    fixed = [{"subnet_id": subnet, "ip_address": "2001:db8::9"}]
    pairs = [{"ip_address": "2001:db8::/96", "mac_address": "fa:16:3e:00:00:01"}]
    changes: list[tuple[str, str, str, str, Any]] = [
        ("volume", "PUT", f"{VOLUME}/volumes/{volume}", json, {"volume": {"name": "v", "x": ODD}}),
        ("network", "PUT", f"{NETWORK}/ports/{port}", json, {
            "port": {"fixed_ips": fixed, "qos_policy_id": None, "allowed_address_pairs": pairs,
                     "extra_dhcp_opts": [], "x": ODD}}),
        ("network", "PUT", f"{NETWORK}/networks/{network}", json, {
            "network": {"provider:segmentation_id": 7, "router:external": True, "x": ODD}}),
        ("image", "PATCH", f"{IMAGE}/images/{image}", PATCH, [{"op": "add", "path": "/a~1b", "value": "é"}]),
    ]  # fmt: skip
    for service, method, path, kind, content in changes:
        body = dumped(content)
        await user.request(method, path, content=body, headers={"Content-Type": kind})
        assert len(received(cloud, service, body)) == 1, path


# -- R2, R4 ---------------------------------------------------------------------------------------


def put(cloud: Cloud, site: Site, project: str, name: str) -> str:
    """A project's volume at a site, made beside Atoll."""
    owner, user = cloud.keystone.project_id(project), cloud.keystone.store.id_of("user", project)
    ident = site.block_storage.made_for(owner, user, {})
    site.block_storage.volumes[ident]["name"] = name
    return ident


async def test_volumes_are_ones_own_each_once_and_pages_are_as_long_as_asked(
    user: Client, cloud: Cloud
) -> None:
    ours = [put(cloud, cloud.sites[number % 3], "demo", f"n{number % 2}") for number in range(14)]
    theirs = {put(cloud, site, "alt_demo", "n0") for site in cloud.sites for _ in range(5)}
    cloud.site("site2").block_storage.max_limit = 2
    for path in (f"{VOLUME}/volumes", f"{VOLUME}/volumes/detail"):
        seen: list[str] = []
        for limit in (3, 1, 4, 2, 3, 5):
            marker = f"&marker={seen[-1]}" if seen else ""
            page = (await user.get(f"{path}?sort=id:asc&limit={limit}{marker}")).json()["volumes"]
            seen += [one["id"] for one in page]
            assert len(page) == min(limit, 14 - (len(seen) - len(page)))
        assert seen == sorted(ours)
        assert theirs.isdisjoint(seen)
        named = (await user.get(f"{path}?name=n1&sort=id:desc&limit=5")).json()["volumes"]
        wanted = sorted((one for number, one in enumerate(ours) if number % 2), reverse=True)
        assert [one["id"] for one in named] == wanted[:5]


# -- R9 -------------------------------------------------------------------------------------------


async def test_a_quota_holds_under_fifty_creates_at_once(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await atoll.settled()
    project = cloud.keystone.project_id("demo")
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        quota = {"quota_set": {"volumes": 9}}
        assert (await admin.put(f"{VOLUME}/os-quota-sets/{project}", json=quota)).status_code == 200
    async with client_of(atoll, cloud.keystone.token()) as user:
        bodies = [{"volume": {"size": 1, "availability_zone": f"zone{n % 3 + 1}"}} for n in range(50)]
        answers = await asyncio.gather(*(user.post(f"{VOLUME}/volumes", json=body) for body in bodies))
        assert Counter(one.status_code for one in answers) == {202: 9, 413: 41}
        refused = next(one for one in answers if one.status_code == 413)
        assert "exceeded for quota 'volumes'" in refused.json()["overLimit"]["message"]
        assert len((await user.get(f"{VOLUME}/volumes")).json()["volumes"]) == 9


# -- R13 ------------------------------------------------------------------------------------------


async def test_what_is_not_on_record_is_found_and_deleted(user: Client, atoll: Atoll, cloud: Cloud) -> None:
    """The table of locations fails from the first create on."""
    await sql(atoll.database, BROKEN)
    volume = await made(user, f"{VOLUME}/volumes", "volume", size=1)
    snapshot = await made(user, f"{VOLUME}/snapshots", "snapshot", volume_id=volume)
    network = await made(user, f"{NETWORK}/networks", "network", name="n")
    port = await made(user, f"{NETWORK}/ports", "port", network_id=network)
    image = await made(user, f"{IMAGE}/images", "", name="i", disk_format="raw", container_format="bare")
    paths = [f"{VOLUME}/snapshots/{snapshot}", f"{VOLUME}/volumes/{volume}", f"{NETWORK}/ports/{port}",
             f"{NETWORK}/networks/{network}", f"{IMAGE}/images/{image}"]  # fmt: skip
    for path in paths:
        assert (await user.get(path)).status_code == 200, path
    for path in paths:
        assert (await user.delete(path)).status_code in {202, 204}, path
        assert (await user.get(path)).status_code == 404, path
    assert not any(site.block_storage.volumes or site.block_storage.snapshots for site in cloud.sites)


# -- R19 ------------------------------------------------------------------------------------------


async def test_an_action_that_nobody_carries_out_is_no_success(user: Client, cloud: Cloud) -> None:
    server = await boot(user, cloud, "site2")
    volume = await made(user, f"{VOLUME}/volumes", "volume", size=1)
    image = await made(user, f"{IMAGE}/images", "", name="i", disk_format="raw", container_format="bare")
    network = await made(user, f"{NETWORK}/networks", "network", name="n")
    for method, path, body in (
        ("POST", f"{SERVERS}/{server}/action", {"fly": {}}),
        ("POST", f"{VOLUME}/volumes/{volume}/action", {"os-fly": {}}),
        ("POST", f"{IMAGE}/images/{image}/actions/fly", None),
        ("PUT", f"{NETWORK}/networks/{network}/fly", {}),
        ("PUT", f"{NETWORK}/routers/{network}/add_router_interface", {}),
    ):
        answer = await user.request(method, path, json=body)
        assert 400 <= answer.status_code < 500, (path, answer.status_code, answer.text)


# -- a site that dies -----------------------------------------------------------------------------


async def test_in_the_middle_of_an_upload_to_it_alone(user: Client, atoll: Atoll, cloud: Cloud) -> None:
    """As in one of all sites: named, and no image is active of half its bytes."""
    ident = await made(user, f"{IMAGE}/images", "", name="i", disk_format="raw", container_format="bare",
                       atoll_sites="site2")  # fmt: skip
    image = cloud.site("site2").image
    async with connected(atoll.port) as raw:
        await raw.send(head(cloud, ident, "Content-Length: 1000000") + b"x" * 500_000)
        await until(lambda: image.images[ident]["status"] == "saving")
        cloud.site("site2").faults.add(Fault("refuse"))
        answer = await raw.answer(b"PUT")
    assert answer.status in {502, 503, 504}
    assert b"site2" in answer.body
    await until(lambda: image.images[ident]["status"] == "queued")
    assert ident not in image.stored
    cloud.site("site2").faults.clear()


@pytest.mark.parametrize("fault", ["die_after_commit", "cut"])
@pytest.mark.parametrize(
    ("path", "envelope", "fields"),
    [
        (f"{VOLUME}/volumes", "volume", {"size": 1, "name": "lost"}),
        (f"{NETWORK}/networks", "network", {"name": "lost"}),
        (f"{NETWORK}/security-groups", "security_group", {"name": "lost"}),
    ],
)
async def test_when_it_has_made_something(
    user: Client, cloud: Cloud, fault: Any, path: str, envelope: str, fields: dict[str, Any]
) -> None:
    """It is told that nobody knows, made once, and there to be found."""
    service = "volume" if path.startswith(VOLUME) else "network"
    for site in cloud.sites:
        site.faults.add(Fault(fault, service=service, method="POST", count=1))
    lost = await user.post(path, json={envelope: fields})
    assert lost.status_code in {502, 504}, lost.text
    for site in cloud.sites:
        site.faults.clear()
    plural = path.rpartition("/")[2].replace("-", "_")
    found = (await user.get(f"{path}?name=lost")).json()[plural]
    assert len(found) == 1
    ident = found[0]["id"]
    assert (await user.get(f"{path}/{ident}")).status_code == 200
    assert (await user.delete(f"{path}/{ident}")).status_code in {202, 204}
