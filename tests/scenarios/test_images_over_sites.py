"""Images whose bytes are at several sites: made, uploaded, changed and deleted at all of them or at none."""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.origin import Exchange, Origin
from tests.raw import connected
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import SERVERS, ZONES, Client, client_of, dumped, server_body

from atoll.gateway import image_uploads
from atoll.sandbox.simulated import Cloud, Fault

IMAGES = "/image/v2/images"
FIELDS = {"name": "golden", "disk_format": "raw", "container_format": "bare"}
OCTETS = {"Content-Type": "application/octet-stream"}
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
BYTES = b"golden" * 100_000
EVERY = ["site1", "site2", "site3"]


async def made(user: Client, sites: str | None = "all", **fields: Any) -> str:
    """An image without bytes; its id."""
    more = {} if sites is None else {"atoll_sites": sites}
    answer = await user.post(IMAGES, json={**FIELDS, **more, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def uploaded(user: Client, sites: str = "all", **fields: Any) -> str:
    """An image with bytes; its id."""
    ident = await made(user, sites, **fields)
    answer = await user.put(f"{IMAGES}/{ident}/file", content=BYTES, headers=OCTETS)
    assert (answer.status_code, answer.text) == (204, "")
    return ident


def at(cloud: Cloud, ident: str, key: str = "status") -> dict[str, Any]:
    """What each site that has the image shows of it."""
    return {site.name: site.image.images[ident][key] for site in cloud.sites if ident in site.image.images}


def pieces(count: int) -> Iterator[bytes]:
    return iter([b"x" * 65536] * count)


def head(cloud: Cloud, ident: str, *lines: str) -> bytes:
    """The head of an upload as a client without a library sends it."""
    given = [
        f"PUT {IMAGES}/{ident}/file HTTP/1.1", "Host: x", f"X-Auth-Token: {cloud.keystone.token()}",
        "Content-Type: application/octet-stream", *lines,
    ]  # fmt: skip
    return "\r\n".join(given).encode() + b"\r\n\r\n"


# -- one image ------------------------------------------------------------------------------------


async def test_an_image_of_all_sites_is_one_everywhere(user: Client, cloud: Cloud) -> None:
    answer = await user.post(IMAGES, json={**FIELDS, "atoll_sites": "all"})
    ident = answer.json()["id"]
    assert answer.json()["atoll_sites"] == "all"
    assert at(cloud, ident) == dict.fromkeys(EVERY, "queued")
    assert not any("atoll_sites" in site.image.images[ident] for site in cloud.sites)
    assert (await user.put(f"{IMAGES}/{ident}/file", content=BYTES, headers=OCTETS)).status_code == 204
    digest = hashlib.sha512(BYTES).hexdigest()
    assert at(cloud, ident, "os_hash_value") == dict.fromkeys(EVERY, digest)
    shown = (await user.get(f"{IMAGES}/{ident}")).json()
    assert (shown["status"], shown["size"], shown["atoll_sites"]) == ("active", len(BYTES), "all")
    assert shown["atoll_sites_status"] == "site1=active,site2=active,site3=active"
    assert shown["stores"] == "file@site1,file@site2,file@site3"
    listed = (await user.get(f"{IMAGES}?name=golden")).json()["images"]
    assert [(one["id"], one["atoll_sites"]) for one in listed] == [(ident, "all")]
    assert (await user.get(f"{IMAGES}/{ident}/file")).content == BYTES
    assert (await user.delete(f"{IMAGES}/{ident}")).status_code == 204
    assert at(cloud, ident) == {}
    assert (await user.get(f"{IMAGES}/{ident}")).status_code == 404


async def test_nova_shows_it_in_its_own_form(user: Client, admin: Client) -> None:
    """Nova's images are what tempest holds to a schema."""
    for ident in (await uploaded(user), await uploaded(admin, visibility="public")):
        answer = await user.get(f"/compute/v2.1/images/{ident}")
        assert answer.status_code == 200, answer.text
        assert "atoll_sites" not in answer.text
        listed = (await user.get("/compute/v2.1/images/detail")).json()["images"]
        assert [one for one in listed if one["id"] == ident] == [answer.json()["image"]]


async def test_servers_are_made_from_it_at_any_of_its_sites(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    async with client_of(atoll, cloud.keystone.token()) as user:
        ident = await uploaded(user, "zone1, site3")
        assert at(cloud, ident) == {"site1": "active", "site3": "active"}
        shown = (await user.get(f"{IMAGES}/{ident}")).json()
        assert shown["atoll_sites"] == "site1,site3"
        for zone, status in (("zone1", 202), ("zone2", 409), ("zone3", 202)):
            body = server_body(cloud, imageRef=ident, availability_zone=zone)
            assert (await user.post(SERVERS, json=body)).status_code == status


async def test_one_site_may_be_named(user: Client, cloud: Cloud) -> None:
    ident = await uploaded(user, "site2")
    assert at(cloud, ident) == {"site2": "active"}
    assert "atoll_sites" not in (await user.get(f"{IMAGES}/{ident}")).json()
    assert (await user.delete(f"{IMAGES}/{ident}")).status_code == 204
    assert at(cloud, ident) == {}


async def test_the_operator_may_have_images_at_all_sites(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), placement={"image_sites": "all"})
    async with client_of(atoll, cloud.keystone.token()) as user:
        everywhere, here = await made(user, None), await made(user, "one")
    assert len(at(cloud, everywhere)) == 3
    assert len(at(cloud, here)) == 1


async def test_a_public_one_says_where_it_is(user: Client, admin: Client, cloud: Cloud) -> None:
    ident = await uploaded(admin, "site1,site2", visibility="public")
    assert at(cloud, ident) == {"site1": "active", "site2": "active"}
    before = [len(site.listener.seen) for site in cloud.sites]
    shown = (await user.get(f"{IMAGES}/{ident}")).json()
    assert (shown["status"], shown["atoll_sites"]) == ("active", "site1,site2")
    asked = [len(site.listener.seen) for site in cloud.sites]
    assert sum(asked) - sum(before) == 1, "what is public is compared beside, not for each who asks"
    cloud.site("site1").faults.add(Fault("refuse"))
    assert (await user.get(f"{IMAGES}/{ident}")).json()["status"] == "active"
    cloud.site("site1").faults.clear()


async def test_another_gateway_knows_of_it(
    start_atoll: StartAtoll, cloud: Cloud, user: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What Atoll knows of it can be found out from the sites."""
    ident = await made(user)
    store = {"url": f"sqlite:///{tmp_path_factory.mktemp('other') / 'atoll.db'}"}
    other = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), store=store)
    async with client_of(other, cloud.keystone.token()) as client:
        answer = await client.put(f"{IMAGES}/{ident}/file", content=BYTES, headers=OCTETS)
        assert answer.status_code == 204
        assert at(cloud, ident) == dict.fromkeys(EVERY, "active")
        assert (await client.get(f"{IMAGES}/{ident}")).json()["atoll_sites"] == "all"


async def test_a_site_that_is_away_is_named_when_it_is_shown(user: Client, cloud: Cloud) -> None:
    ident = await uploaded(user)
    cloud.site("site2").faults.add(Fault("status", service="image", status=503))
    answer = await user.get(f"{IMAGES}/{ident}")
    shown = answer.json()
    assert shown["atoll_sites_status"] == "site1=active,site2=unknown,site3=active"
    assert "site2" in answer.headers["x-atoll-missing-sites"]


# -- create ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ['{"atoll_sites": "all"}', '{ "atoll_sites":"one", "name" : "i","atoll_sites" :"all" }']
)
async def test_the_word_is_taken_out_however_it_is_written(user: Client, cloud: Cloud, text: str) -> None:
    kind = {"Content-Type": "application/json"}
    ident = (await user.post(IMAGES, content=text, headers=kind)).json()["id"]
    assert len(at(cloud, ident)) == 3
    assert not any("atoll_sites" in site.image.images[ident] for site in cloud.sites)


async def test_one_site_alone_is_all_sites(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site2"))
    async with client_of(atoll, cloud.keystone.token()) as user:
        ident = await uploaded(user, "all")
        assert at(cloud, ident) == {"site2": "active"}
        assert "atoll_sites" not in (await user.get(f"{IMAGES}/{ident}")).json()
        assert (await user.post(IMAGES, json={**FIELDS, "atoll_sites": "site1"})).status_code == 400


@pytest.mark.parametrize("words", ["", "nowhere", "site1,nowhere", 3, "site1;site2"])
async def test_a_place_that_is_none(user: Client, cloud: Cloud, words: object) -> None:
    before = [len(site.image.images) for site in cloud.sites]
    answer = await user.post(IMAGES, json={**FIELDS, "atoll_sites": words})
    assert answer.status_code == 400
    assert "atoll_sites" in answer.text
    assert [len(site.image.images) for site in cloud.sites] == before


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault("status", service="image", method="POST", status=403), 403),
        (Fault("refuse"), 503),
        (Fault("die_after_commit", service="image", method="POST"), 504),
    ],
)
async def test_a_create_that_one_site_does_not_do(
    user: Client, cloud: Cloud, fault: Fault, status: int
) -> None:
    before = [set(site.image.images) for site in cloud.sites]
    cloud.site("site2").faults.add(fault)
    answer = await user.post(IMAGES, json={**FIELDS, "atoll_sites": "all"})
    assert answer.status_code == status
    assert [set(site.image.images) for site in cloud.sites] == before


async def test_an_id_that_somebody_else_has_at_a_site(user: Client, cloud: Cloud) -> None:
    """Nobody sees it there, and nothing is left elsewhere."""
    other = cloud.keystone.project_id("alt_demo")
    taken = cloud.site("site2").image.add("theirs", b"x", owner=other, visibility="private")["id"]
    answer = await user.post(IMAGES, json={**FIELDS, "id": taken, "atoll_sites": "all"})
    assert answer.status_code == 409
    assert f"Image ID {taken} already exists!" in answer.text
    assert at(cloud, taken, "owner") == {"site2": other}


async def test_an_id_that_one_site_has_with_other_bytes(user: Client, cloud: Cloud) -> None:
    mine = cloud.keystone.project_id("demo")
    taken = cloud.site("site2").image.add("mine", b"x", owner=mine, visibility="private")["id"]
    answer = await user.post(IMAGES, json={**FIELDS, "id": taken, "atoll_sites": "all"})
    assert answer.status_code == 409
    assert at(cloud, taken, "name") == {"site2": "mine"}


# -- uploads that fail ----------------------------------------------------------------------------


async def test_a_site_that_dies_in_the_middle(user: Client, atoll: Atoll, cloud: Cloud) -> None:
    ident = await made(user)
    async with connected(atoll.port) as raw:
        await raw.send(head(cloud, ident, "Content-Length: 1000000") + b"x" * 500_000)
        await until(lambda: at(cloud, ident) == dict.fromkeys(EVERY, "saving"))
        cloud.site("site2").faults.add(Fault("refuse"))
        answer = await raw.answer(b"PUT")
    assert answer.status in {503, 504}
    assert b"site2" in answer.body
    assert b"queued there, as before" in answer.body
    found = at(cloud, ident)
    assert (found["site1"], found["site3"]) == ("queued", "queued")
    assert not any(ident in site.image.stored for site in cloud.sites)
    cloud.site("site2").faults.clear()


async def test_a_site_that_refuses_has_all_others_end(user: Client, cloud: Cloud) -> None:
    ident = await made(user)
    cloud.site("site2").faults.add(Fault("status", service="image", method="PUT", status=413, count=1))
    answer = await user.put(f"{IMAGES}/{ident}/file", content=BYTES, headers=OCTETS)
    assert answer.status_code == 413
    assert at(cloud, ident) == dict.fromkeys(EVERY, "queued")
    again = await user.put(f"{IMAGES}/{ident}/file", content=BYTES, headers=OCTETS)
    assert again.status_code == 204
    assert at(cloud, ident) == dict.fromkeys(EVERY, "active")


async def test_a_client_that_goes_away(user: Client, atoll: Atoll, cloud: Cloud) -> None:
    ident = await made(user)
    async with connected(atoll.port) as raw:
        await raw.send(head(cloud, ident, "Content-Length: 1000000") + b"x" * 500_000)
        await until(lambda: at(cloud, ident) == dict.fromkeys(EVERY, "saving"))
    await until(lambda: at(cloud, ident) == dict.fromkeys(EVERY, "queued"))
    assert not any(ident in site.image.stored for site in cloud.sites)


@pytest.mark.parametrize(
    ("line", "part"), [("Content-Length: 1000", b"x" * 10), ("Transfer-Encoding: chunked", b"3\r\nxxx\r\n")]
)
async def test_a_client_that_stalls(
    start_atoll: StartAtoll, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, line: str, part: bytes
) -> None:
    """Only the wait for the client is short."""
    read = image_uploads._read  # noqa: SLF001 - to do the same, sooner
    monkeypatch.setattr(image_uploads, "_read", lambda body, stall: read(body, stall / 100))
    limits = {"deadline_seconds": 50.0}
    impatient = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    async with client_of(impatient, cloud.keystone.token()) as user:
        ident = await made(user)
        async with connected(impatient.port) as raw:
            answer = await raw.ask(head(cloud, ident, line) + part)
            assert answer.status == 408
            await raw.ended()
    assert at(cloud, ident) == dict.fromkeys(EVERY, "queued")


@pytest.mark.parametrize("ours", [True, False])
async def test_bytes_that_are_not_what_was_sent(user: Client, cloud: Cloud, ours: bool) -> None:
    ident = await made(user)
    cloud.site("site2" if ours else "site3").image.spoils = b"!"
    answer = await user.put(f"{IMAGES}/{ident}/file", content=BYTES, headers=OCTETS)
    assert answer.status_code == 502
    assert "Not what was sent" in answer.text
    assert ("site2" in answer.text.partition(")")[0]) is ours
    assert at(cloud, ident) == {}


async def test_an_answer_that_is_lost_when_all_is_stored(user: Client, cloud: Cloud) -> None:
    """It cannot be made queued again, so it is nowhere."""
    ident = await made(user)
    cloud.site("site2").faults.add(Fault("die_after_commit", service="image", method="PUT", count=1))
    answer = await user.put(f"{IMAGES}/{ident}/file", content=BYTES, headers=OCTETS)
    assert answer.status_code == 504
    assert "deleted at" in answer.text
    assert at(cloud, ident) == {}


async def test_an_upload_while_a_site_is_away(user: Client, cloud: Cloud) -> None:
    ident = await made(user)
    cloud.site("site3").faults.add(Fault("status", service="image", status=503))
    answer = await user.put(f"{IMAGES}/{ident}/file", content=BYTES, headers=OCTETS)
    assert answer.status_code == 503
    assert "nothing was uploaded" in answer.text
    assert at(cloud, ident) == dict.fromkeys(EVERY, "queued")


@pytest.mark.parametrize("sites", ["one", "all"])
async def test_nothing_is_something(user: Client, cloud: Cloud, sites: str) -> None:
    """Glance makes an image of no bytes active."""
    ident = await made(user, sites)
    answer = await user.put(f"{IMAGES}/{ident}/file", content=b"", headers=OCTETS)
    assert answer.status_code == 204
    assert set(at(cloud, ident).values()) == {"active"}
    assert set(at(cloud, ident, "size").values()) == {0}


@pytest.mark.parametrize("sites", ["one", "all"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_upload_without_an_end(
    start_atoll: StartAtoll, cloud: Cloud, sites: str, chunked: bool
) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits={"upload_bytes": 300_000})
    async with client_of(atoll, cloud.keystone.token()) as user:
        ident = await made(user, sites)
        line = "Transfer-Encoding: chunked" if chunked else "Content-Length: 300001"
        async with connected(atoll.port) as raw:
            part = b"".join(b"10000\r\n" + one + b"\r\n" for one in pieces(5))
            answer = await raw.ask(head(cloud, ident, line) + (part if chunked else b""))
        assert answer.status == 413
        assert b"over 300000 bytes" in answer.body
    await until(lambda: set(at(cloud, ident).values()) == {"queued"})


async def test_an_upload_when_there_is_one(user: Client, cloud: Cloud) -> None:
    ident = await uploaded(user)
    answer = await user.put(f"{IMAGES}/{ident}/file", content=b"other", headers=OCTETS)
    assert answer.status_code == 409
    assert at(cloud, ident, "size") == dict.fromkeys(EVERY, len(BYTES))


async def test_two_uploads_at_once_take_nothing_from_each_other(user: Client, cloud: Cloud) -> None:
    ident = await made(user)
    contents = [bytes([65 + number]) * 500_000 for number in range(6)]
    answers = await asyncio.gather(
        *(user.put(f"{IMAGES}/{ident}/file", content=one, headers=OCTETS) for one in contents)
    )
    stored = [content for content, one in zip(contents, answers, strict=True) if one.status_code == 204]
    assert len(stored) <= 1
    assert {one.status_code for one in answers} <= {204, 409}
    if stored:
        digest = hashlib.sha512(stored[0]).hexdigest()
        assert at(cloud, ident, "os_hash_value") == dict.fromkeys(EVERY, digest)
    else:
        assert at(cloud, ident) == dict.fromkeys(EVERY, "queued")


async def test_the_slowest_site_sets_the_pace(start_atoll: StartAtoll, cloud: Cloud) -> None:
    """A site that does not read holds the client up: nothing piles up in between. Then it is given up."""
    ident = "00000000-0000-4000-8000-000000000001"

    async def unread(exchange: Exchange) -> None:
        if exchange.head.method == b"PUT":
            await asyncio.sleep(30)  # longer than the gateway waits
            return
        await exchange.body()
        image = {**FIELDS, "id": ident, "status": "queued", "owner": cloud.keystone.project_id("demo")}
        await exchange.answer(200, dumped({**image, "images": []}))

    async with Origin(unread) as origin:
        slow = {"region": "x", "endpoints": {"image": f"{origin.url}/image"}}
        sites = sites_of(cloud, "site1") | {"x": slow}
        limits = {"deadline_seconds": 2.5}
        atoll = await start_atoll(cloud.keystone.auth_url, sites, limits=limits)
        async with client_of(atoll, cloud.keystone.token()) as user:
            cloud.site("site1").image.add("golden", owner=cloud.keystone.project_id("demo"), image_id=ident)
            assert (await user.get(f"{IMAGES}/{ident}")).json()["atoll_sites"] == "all"
        sent = 0
        _, writer = await asyncio.open_connection("127.0.0.1", atoll.port)
        writer.write(head(cloud, ident, "Content-Length: 1000000000"))
        with suppress(TimeoutError):
            while sent < 60:
                writer.write(bytes(1 << 20))
                await asyncio.wait_for(writer.drain(), 0.3 if sent else 30.0)
                sent += 1
        writer.transport.abort()
        assert 0 < sent < 60
        await until(lambda: at(cloud, ident)["site1"] == "queued")
        await atoll.end()


# -- changes --------------------------------------------------------------------------------------


def patch(*operations: tuple[str, str, Any]) -> list[dict[str, Any]]:
    return [{"op": op, "path": f"/{name}", "value": value} for op, name, value in operations]


async def test_changes_are_made_at_all_sites(user: Client, cloud: Cloud) -> None:
    ident = await uploaded(user)
    body = patch(("replace", "min_ram", 64), ("add", "os_version", "12"))
    changed = await user.patch(f"{IMAGES}/{ident}", json=body, headers=PATCH)
    assert changed.status_code == 200, changed.text
    assert at(cloud, ident, "min_ram") == dict.fromkeys(EVERY, 64)
    assert at(cloud, ident, "os_version") == dict.fromkeys(EVERY, "12")
    assert (await user.put(f"{IMAGES}/{ident}/tags/blue")).status_code == 204
    assert at(cloud, ident, "tags") == {name: ["blue"] for name in EVERY}
    other = cloud.keystone.project_id("alt_demo")
    answer = await user.post(f"{IMAGES}/{ident}/members", json={"member": other})
    assert answer.status_code == 200
    assert all(other in site.image.members[ident] for site in cloud.sites)


CHANGES = {
    "patch": ("PATCH", "", patch(("replace", "name", "new"), ("add", "x", "y"))),
    "tag": ("PUT", "/tags/new", None),
    "untag": ("DELETE", "/tags/old", None),
    "member": ("POST", "/members", {"member": "p"}),
    "no member": ("DELETE", "/members/old", None),
    "off": ("POST", "/actions/deactivate", None),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_that_one_site_refuses_is_at_none(admin: Client, cloud: Cloud, change: str) -> None:
    method, tail, body = CHANGES[change]
    ident = await uploaded(admin, tags=["old"])
    await admin.post(f"{IMAGES}/{ident}/members", json={"member": "old"})

    def state() -> list[Any]:
        hidden = {"updated_at"}
        return [
            (
                {key: str(value) for key, value in site.image.images[ident].items() if key not in hidden},
                sorted(site.image.members.get(ident, {})),
            )
            for site in cloud.sites
        ]

    before = state()
    cloud.site("site3").faults.add(Fault("status", service="image", method=method, status=403, count=1))
    headers = PATCH if method == "PATCH" else {}
    answer = await admin.request(method, f"{IMAGES}/{ident}{tail}", json=body, headers=headers)
    assert answer.status_code == 403
    assert state() == before
    answer = await admin.request(method, f"{IMAGES}/{ident}{tail}", json=body, headers=headers)
    assert answer.status_code < 300, answer.text
    assert state() != before


async def test_where_an_image_is_cannot_be_patched(user: Client, cloud: Cloud) -> None:
    ident, here = await uploaded(user), await uploaded(user, "one")
    for one, status in ((ident, 409), (here, 409)):
        body = patch(("add", "atoll_sites", "site1,site2"))
        answer = await user.patch(f"{IMAGES}/{one}", json=body, headers=PATCH)
        assert answer.status_code == status
        assert "atoll_sites" in answer.text
    same = patch(("add", "atoll_sites", "all"), ("replace", "name", "new"))
    answer = await user.patch(f"{IMAGES}/{ident}", json=same, headers=PATCH)
    assert answer.status_code == 200, answer.text
    assert at(cloud, ident, "name") == dict.fromkeys(EVERY, "new")
    assert not any("atoll_sites" in site.image.images[ident] for site in cloud.sites)


async def test_a_delete_that_a_site_does_not_do_names_it(user: Client, cloud: Cloud) -> None:
    ident = await uploaded(user)
    cloud.site("site2").faults.add(Fault("refuse"))
    answer = await user.delete(f"{IMAGES}/{ident}")
    assert answer.status_code == 503
    assert "site2" in answer.text
    assert list(at(cloud, ident)) == ["site2"]
    cloud.site("site2").faults.clear()


async def test_somebody_it_is_shared_with_sees_one(user: Client, atoll: Atoll, cloud: Cloud) -> None:
    ident = await uploaded(user)
    other = cloud.keystone.project_id("alt_demo")
    await user.post(f"{IMAGES}/{ident}/members", json={"member": other})
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as member:
        answer = await member.put(f"{IMAGES}/{ident}/members/{other}", json={"status": "accepted"})
        assert answer.status_code == 200, answer.text
        assert {site.image.members[ident][other]["status"] for site in cloud.sites} == {"accepted"}
        listed = (await member.get(f"{IMAGES}?name=golden")).json()["images"]
        assert [one["id"] for one in listed] == [ident]
        assert (await member.get(f"{IMAGES}/{ident}/file")).content == BYTES


# -- other ways in --------------------------------------------------------------------------------


async def test_what_is_staged_is_imported_at_all_sites(user: Client, cloud: Cloud) -> None:
    ident = await made(user)
    staged = await user.put(f"{IMAGES}/{ident}/stage", content=BYTES, headers=OCTETS)
    assert staged.status_code == 204, staged.text
    assert at(cloud, ident) == dict.fromkeys(EVERY, "uploading")
    answer = await user.post(f"{IMAGES}/{ident}/import", json={"method": {"name": "glance-direct"}})
    assert answer.status_code == 202, answer.text
    shown = (await user.get(f"{IMAGES}/{ident}")).json()
    assert (shown["status"], shown["atoll_sites"]) == ("active", "all")
    assert at(cloud, ident) == dict.fromkeys(EVERY, "active")


async def test_its_tasks_are_those_of_all_its_sites(user: Client, cloud: Cloud) -> None:
    ident = await made(user, "site1,site3")
    path = f"{IMAGES}/{ident}/tasks"
    assert (await user.get(path)).json() == {"tasks": []}
    await user.put(f"{IMAGES}/{ident}/stage", content=BYTES, headers=OCTETS)
    await user.post(f"{IMAGES}/{ident}/import", json={"method": {"name": "glance-direct"}})
    theirs = [list(cloud.site(name).image.admin.tasks) for name in ("site1", "site3")]
    assert [len(tasks) for tasks in theirs] == [1, 1]
    tasks = (await user.get(path)).json()["tasks"]
    assert [task["id"] for task in tasks] == [ids[0] for ids in theirs]
    assert {task["image_id"] for task in tasks} == {ident}
    cloud.site("site3").refuse()
    answer = await user.get(path)
    assert [task["id"] for task in answer.json()["tasks"]] == theirs[0]
    assert answer.headers["X-Atoll-Missing-Sites"].startswith("site3")
    refused = await user.get(path, headers={"X-Atoll-Partial": "refuse"})
    assert refused.status_code == 503
    assert "site3" in refused.text


async def test_what_each_site_would_fetch_by_itself_is_refused(user: Client, cloud: Cloud) -> None:
    ident = await made(user)
    body = {"method": {"name": "web-download", "uri": "http://example.org/i"}}
    answer = await user.post(f"{IMAGES}/{ident}/import", json=body)
    assert answer.status_code == 409
    assert "fetch bytes of its own" in answer.text
    answer = await user.post(f"{IMAGES}/{ident}/locations", json={"url": "http://example.org/i"})
    assert answer.status_code == 409
    assert "store of one site" in answer.text
    assert at(cloud, ident) == dict.fromkeys(EVERY, "queued")
