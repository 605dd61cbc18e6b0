"""R1: a create passes every field of its body, byte for byte; of a zone only the name is changed."""

import json
import random
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import SERVERS, ZONES, Client, client_of, dumped

from atoll.sandbox.simulated import Cloud, Site


def every_field(site: Site) -> dict[str, Any]:
    """A create with all that Nova's schema knows (2.104), and something it does not."""
    network = next(one for one in site.network.records.of("networks").values() if one["name"] == "private")
    return {
        "server": {
            "name": "vm é",
            "flavorRef": "42",
            "imageRef": site.image_id("cirros"),
            "key_name": "my key",
            "user_data": "IyEvYmluL2Jhc2g=",
            "metadata": {"url": site.url + "/compute/v2.1/x", "availability_zone": "zone1", "a": ""},
            "config_drive": True,
            "personality": [{"path": "/etc/banner", "contents": "eA=="}],
            "block_device_mapping_v2": [
                {"boot_index": 0, "uuid": site.image_id("cirros"), "source_type": "image", "volume_size": 1,
                 "destination_type": "volume", "delete_on_termination": True, "tag": "root"}
            ],
            "networks": [{"uuid": network["id"], "fixed_ip": "10.3.0.9", "tag": "nic"}],
            "security_groups": [{"name": "default"}],
            "min_count": 1,
            "max_count": 2,
            "return_reservation_id": True,
            "adminPass": "s3cret",
            "accessIPv4": "192.0.2.1",
            "accessIPv6": "2001:db8::1",
            "hostname": "vm",
            "host": "h",
            "hypervisor_hostname": "n",
            "description": "d",
            "tags": ["a", "b"],
            "trusted_image_certificates": ["c"],
            "OS-DCF:diskConfig": "AUTO",
            "some:extension": {"deep": [1, 2.50, 1e3, None, "\U0001f600"]},
        },
        "os:scheduler_hints": {"build_near_host_ip": "192.168.1.1", "custom": [1]},
    }  # fmt: skip


@pytest.fixture
async def zoned(start_atoll: StartAtoll, cloud: Cloud) -> Client:
    """The user of a gateway whose zones have other names than the sites'."""
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await atoll.settled()
    return client_of(atoll, cloud.keystone.token())


async def post(client: Client, body: bytes) -> int:
    headers = {"Content-Type": "application/json", "OpenStack-API-Version": "compute 2.96"}
    return (await client.post(SERVERS, content=body, headers=headers)).status_code


async def test_every_field_arrives_as_it_was_written(zoned: Client, cloud: Cloud) -> None:
    site = cloud.site("site2")
    body = dumped(every_field(site))
    async with zoned:
        await post(zoned, body)
    received = {one.name: one.compute.received for one in cloud.sites}
    assert received == {"site1": [], "site2": [body], "site3": []}, "the site of the network, and no other"


@pytest.mark.parametrize(
    ("asked", "there"), [("zone3", "nova"), ("zone3:host1", "nova:host1"), ("zone3:h:n", "nova:h:n")]
)
async def test_of_a_zone_only_the_name_is_changed(
    zoned: Client, cloud: Cloud, asked: str, there: str
) -> None:
    content = every_field(cloud.site("site3"))
    content["server"]["availability_zone"] = asked
    body = dumped(content)
    async with zoned:
        await post(zoned, body)
    needle = b'"availability_zone": "%b"'
    expected = body.replace(needle % asked.encode(), needle % there.encode())
    assert cloud.site("site3").compute.received == [expected]
    assert b'"availability_zone": "zone1"' in expected, "a user's own metadata is not a zone"


def random_value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    kind = rng.randrange(8 if depth < 4 else 6)
    if kind == 6:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {random_text(rng): random_value(rng, depth + 1) for _ in range(rng.randrange(4))}
    plain = [None, True, rng.randrange(-(2**63), 2**63), rng.random() * 10 ** rng.randrange(-9, 9)]
    return [*plain, random_text(rng), random_text(rng)][kind]


def random_text(rng: random.Random) -> str:
    """Text with all that a naive rewriting trips over."""
    odd = ['"', "\\", "{", "}", "[", "]", ":", ",", "\u2028", "\U0001f600", "é", "\x7f", " ", "\n", "zone1",
           '"availability_zone": "zone1"', "server", "http://127.0.0.1/compute"]  # fmt: skip
    return "".join(rng.choice(odd) for _ in range(rng.randrange(5)))


def written(value: Any, rng: random.Random) -> bytes:
    """JSON in some style."""
    style = rng.randrange(4)
    return json.dumps(
        value,
        ensure_ascii=bool(rng.randrange(2)),
        indent=[None, None, 2, "\t"][style],
        separators=[(",", ":"), (" , ", " : "), (",", ": "), None][style],
    ).encode()


async def test_any_body_arrives_as_it_was_written(zoned: Client, cloud: Cloud) -> None:
    rng = random.Random(2026)  # noqa: S311 - repeatable
    async with zoned:
        for _ in range(60):
            fields = {random_text(rng) or "x": random_value(rng) for _ in range(rng.randrange(6))}
            content = {random_text(rng) or "y": random_value(rng), "server": {**fields, "name": "vm"}}
            body = written(content, rng)
            await post(zoned, body)
            arrived = [text for site in cloud.sites for text in site.compute.received]
            assert arrived == [body]
            for site in cloud.sites:
                site.compute.received.clear()


async def test_with_a_zone_the_rest_arrives_as_it_was_written(zoned: Client, cloud: Cloud) -> None:
    rng = random.Random(4711)  # noqa: S311 - repeatable
    async with zoned:
        for _ in range(40):
            before = {random_text(rng) + "b": random_value(rng) for _ in range(rng.randrange(3))}
            after = {random_text(rng) + "a": random_value(rng) for _ in range(rng.randrange(3))}
            content = {"x": random_value(rng), "server": {**before, "availability_zone": "@ZONE@", **after}}
            body = written(content, rng)
            await post(zoned, body.replace(b"@ZONE@", b"zone2"))
            assert cloud.site("site2").compute.received == [body.replace(b"@ZONE@", b"nova")]
            cloud.site("site2").compute.received.clear()


async def test_what_no_site_can_read_is_refused_by_one(zoned: Client, cloud: Cloud) -> None:
    """In the service's own words, and nothing is made."""
    async with zoned:
        for body in (
            b"",
            b"{",
            b"[]",
            b'"x"',
            b"\xff\xfe",
            b'{"server": 1}',
            b'{"server": {"\xed\xa0\xbd": 1}}',
            b'{"server": {}}',
            b"null",
        ):
            # What is no UTF-8 breaks Nova, which says so with 500.
            assert await post(zoned, body) == (500 if b"\xff" in body or b"\xed" in body else 400), body
    assert sum(len(site.compute.instances) for site in cloud.sites) == 0
