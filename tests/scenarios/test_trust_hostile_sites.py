"""A site that lies, in a cloud of its own: what it can make of Atoll's requests and of what others see.

site1's compute service is written by hand; its Keystone and site2 are honest.
"""

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.origin import Exchange, Origin
from tests.running import Atoll, until
from tests.scenarios.apart import Apart, apart
from tests.scenarios.conftest import SERVERS, UNKNOWN, Client, client_of, server_body

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")

# Of headers that clients may not say, in any of their spellings.
FORGED = (
    "X-Roles", "X_Roles", "Project-Id", "Project_Id", "Service", "Identity-Status", "spoofed",
    "System-Scope", "X-User", "Tenant-Id", "Cookie", "Bearer", "Storage",
)  # fmt: skip
EVIL = b"http://evil.example"


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        yield made


class Hostile:
    """site1's compute service: `answers` says what it does with everything but versions."""

    def __init__(self) -> None:
        self.answers: Callable[[Exchange], Awaitable[None]] = lambda exchange: exchange.answer(404, b"{}")
        self.asked: list[Exchange] = []
        self.url = ""

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.body()
        self.asked.append(exchange)
        await self.answers(exchange)

    @property
    def heard(self) -> bytes:
        """Every byte that came."""
        return b"\n".join(
            b"%b\n%b\n%b"
            % (one.head.start, b"\n".join(b": ".join(pair) for pair in one.head.headers), one.head.body)
            for one in self.asked
        )


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    script = Hostile()
    async with Origin(script) as origin:
        script.url = f"{origin.url}/compute/v2.1"
        yield script


@pytest.fixture
async def atoll(start_atoll: StartAtoll, clouds: Apart, hostile: Hostile) -> Atoll:
    sites = clouds.sites
    sites["site1"] = {**sites["site1"], "endpoints": {"compute": hostile.url}}
    return await start_atoll(
        clouds.auth_url,
        sites,
        credentials=clouds.credentials("demo", "alt_demo", "admin"),
        limits={"fan_out_per_second": 1.0, "fan_out_burst": 40},
        **clouds.tables,
    )


@pytest.fixture
async def user(atoll: Atoll, clouds: Apart) -> AsyncIterator[Client]:
    async with client_of(atoll, clouds.keystone.token()) as client:
        yield client


def says(status: int, body: bytes, *lines: bytes) -> Callable[[Exchange], Awaitable[None]]:
    return lambda exchange: exchange.answer(status, body, *lines)


def server(ident: str, **fields: object) -> dict[str, object]:
    return {
        "id": ident,
        "name": "vm",
        "status": "ACTIVE",
        "created": "2030-01-01T00:00:00Z",
        "links": [],
        **fields,
    }


def of_the_list(*idents: str, **more: object) -> bytes:
    return json.dumps({"servers": [server(one) for one in idents], **more}).encode()


def one(ident: str, **fields: object) -> bytes:
    return json.dumps({"server": server(ident, **fields)}).encode()


def tokens(clouds: Apart) -> list[bytes]:
    """Every token that a site's Keystone gave."""
    return [token.encode() for keystone in clouds.cloud.keystones for token in keystone.store.tokens]


async def boot(user: Client, clouds: Apart) -> str:
    """A server of site2; its id."""
    answer = await user.post(SERVERS, json=server_body(clouds.cloud, availability_zone="site2"))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["server"]["id"])


async def test_neither_cloud_hears_the_clients_token_nor_the_others(user, clouds, hostile):
    hostile.answers = says(200, of_the_list(UNKNOWN))
    spoofed = {
        "X-Roles": "admin", "X_Roles": "admin", "X-Project-Id": "f" * 32, "X_Project_Id": "f" * 32,
        "X-Service-Token": "spoofed-token", "X-Service-Roles": "service", "X-User-Id": "e" * 32,
        "X-Identity-Status": "Confirmed", "X-Is-Admin-Project": "True", "OpenStack-System-Scope": "all",
        "X-Subject-Token": user.token, "X-Storage-Token": user.token, "Authorization": f"Bearer {user.token}",
        "Cookie": f"token={user.token}", "X-Tenant-Id": "f" * 32, "X-Domain-Id": "d", "X-User": "root",
    }  # fmt: skip
    made = await boot(user, clouds)
    await user.get(f"{SERVERS}/detail", headers=spoofed)
    hostile.answers = says(200, one(UNKNOWN))
    for path in (f"{SERVERS}/{UNKNOWN}", f"{SERVERS}/{UNKNOWN}?x=1", f"{SERVERS}/{made}"):
        for _ in range(2):
            assert (await user.get(path, headers=spoofed)).status_code == 200
    await user.post(f"{SERVERS}/{UNKNOWN}/action", headers=spoofed, json={"os-stop": None})
    await user.get("/compute/v2.1/", headers=spoofed)
    assert len(hostile.asked) > 3
    foreign = [*clouds.cloud.keystones, clouds.cloud.site("site2")]
    heard = [hostile.heard, *(str(seen).encode() for where in foreign for seen in where.listener.seen)]
    other = clouds.cloud.site("site2").keystone.store.tokens
    for text in heard:
        assert user.token.encode() not in text
        for name in FORGED:
            assert name.lower().encode() not in text.lower(), name
    assert not any(token.encode() in hostile.heard for token in other), "another cloud's"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_followed_by_nobody(user, hostile, status):
    hostile.answers = says(200, of_the_list(UNKNOWN))
    await user.get(f"{SERVERS}/detail")
    before = len(hostile.asked)
    async with Origin() as elsewhere:
        hostile.answers = says(status, b"{}", b"Location: %b/compute/v2.1/servers/x" % elsewhere.url.encode())
        for method in ("GET", "DELETE", "PUT"):
            answer = await user.request(method, f"{SERVERS}/{UNKNOWN}", follow_redirects=False)
            assert "location" not in answer.headers
        await user.get(f"{SERVERS}/detail")
        assert elsewhere.seen == []
    assert len(hostile.asked) >= before + 4


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (EVIL + b"/servers/1", None),
        (b"//evil.example/compute/v2.1/servers/1", None),
        (b"javascript:alert(1)", None),
        (EVIL + b"/compute/v2.1/servers/1", "/compute/v2.1/servers/1"),
        (b"/compute/v2.1/servers/1", "/compute/v2.1/servers/1"),
        (EVIL + b"//images/" + UNKNOWN.encode(), f"/image/v2/images/{UNKNOWN}"),
        (EVIL + b"/image/images/" + UNKNOWN.encode(), f"/image/v2/images/{UNKNOWN}"),
        (EVIL + b"/images/" + UNKNOWN.encode() + b"/../x", None),
    ],
)
async def test_of_a_location_only_the_path_is_used(atoll, user, hostile, location, expected):
    hostile.answers = says(200, of_the_list(UNKNOWN))
    await user.get(f"{SERVERS}/detail")
    hostile.answers = says(202, b"{}", b"Location: " + location)
    answer = await user.post(f"{SERVERS}/{UNKNOWN}/action", json={"createImage": {"name": "i"}})
    assert answer.status_code == 202
    assert answer.headers.get("location") == (None if expected is None else atoll.url + expected)


async def test_next_links_elsewhere_are_no_one_s(user, hostile):
    async with Origin() as elsewhere:
        link = {"rel": "next", "href": f"{elsewhere.url}/compute/v2.1/servers/detail?marker={UNKNOWN}"}
        hostile.answers = says(200, of_the_list(UNKNOWN, servers_links=[link]))
        answer = await user.get(f"{SERVERS}/detail?limit=1")
        assert elsewhere.url not in answer.text
        await user.get(f"{SERVERS}/detail?limit=1&marker={UNKNOWN}")
        assert elsewhere.seen == []


async def test_a_site_that_claims_what_is_another_s(atoll, user, clouds, hostile, log_lines):
    made = await boot(user, clouds)
    hostile.answers = says(200, of_the_list(made))
    await user.get(f"{SERVERS}/detail")
    await until(lambda: [one for one in log_lines if one["event"] == "location_conflict"])
    hostile.asked.clear()
    hostile.answers = says(200, one(made, name="forged"))
    refused = await user.put(f"{SERVERS}/{made}", json={"server": {"name": "new"}})
    assert refused.status_code == 409, "two sites claim it"
    assert "site1" in refused.text
    assert hostile.asked == []
    shown = await user.get(f"{SERVERS}/{made}")
    assert shown.json()["server"]["name"] != "forged"
    async with client_of(atoll, clouds.keystone.token("alt_demo")) as other:
        for _ in range(2):
            answer = await other.get(f"{SERVERS}/{made}")
            assert (answer.status_code, "forged" in answer.text) == (404, False)


async def test_what_one_project_did_not_find_is_there_for_another(atoll, user, clouds):
    async with client_of(atoll, clouds.keystone.token("alt_demo")) as other:
        made = await boot(user, clouds)
        for _ in range(2):
            assert (await other.get(f"{SERVERS}/{made}")).status_code == 404
            assert (await user.get(f"{SERVERS}/{made}")).status_code == 200
        listed = await other.get(f"{SERVERS}/detail")
        assert made not in listed.text


async def test_a_401_is_not_the_clients_and_nor_is_what_it_says(user, hostile):
    hostile.answers = says(200, of_the_list(UNKNOWN))
    await user.get(f"{SERVERS}/detail")
    hostile.answers = says(401, b"{}", b'WWW-Authenticate: Keystone uri="%b"' % EVIL)
    for path in (f"{SERVERS}/{UNKNOWN}", f"{SERVERS}/{UNKNOWN}?x=1"):
        answer = await user.get(path)
        assert (answer.status_code, "www-authenticate" in answer.headers) == (503, False)
        assert "site1" in answer.text
        assert EVIL.decode() not in str(answer.headers) + answer.text
    listed = await user.get(f"{SERVERS}/detail")
    assert (listed.status_code, "site1" in listed.headers["x-atoll-missing-sites"]) == (200, True)


async def test_a_token_that_a_site_repeats_stays_here(user, clouds, hostile):
    async def repeats(exchange: Exchange) -> None:
        token = exchange.head.header(b"x-auth-token") or b""
        lines = (b"X-Auth-Token: " + token, b"X-Subject-Token: " + token, b"Set-Cookie: t=" + token,
                 b'WWW-Authenticate: x="%b"' % token)  # fmt: skip
        await exchange.answer(200, one(UNKNOWN), *lines)

    hostile.answers = says(200, of_the_list(UNKNOWN))
    await user.get(f"{SERVERS}/detail")
    hostile.answers = repeats
    for path in (f"{SERVERS}/{UNKNOWN}", f"{SERVERS}/{UNKNOWN}?x=1"):
        for _ in range(10):  # heads that come often are known by their form
            answer = await user.get(path)
            assert answer.status_code == 200
            assert not any(one in str(answer.headers).encode() + answer.content for one in tokens(clouds))


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"{" * 100_000, ()),
        (b'{"servers": [{"id": 7}, null, "x"]}', ()),
        (b"\xff\xfe\x00", ()),
        (b"not gzip", (b"Content-Encoding: gzip",)),
        (gzip.compress(b"[" * 1000, mtime=0), (b"Content-Encoding: gzip",)),
        (b"null", ()),
        (b'{"servers": null}', ()),
        (b'{"servers": {"id": "x"}}', ()),
    ],
)
async def test_an_answer_that_is_none_is_that_site_s(user, clouds, hostile, body, lines):
    made = await boot(user, clouds)
    hostile.answers = says(200, body, *lines)
    answer = await user.get(f"{SERVERS}/detail")
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()["servers"]] == [made]
    assert "site1" in answer.headers["x-atoll-missing-sites"]


async def test_an_answer_without_end_is_given_up(user, clouds, hostile):
    made = await boot(user, clouds)

    async def endless(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        while True:
            await exchange.send(piece)

    hostile.answers = endless
    answer = await user.get(f"{SERVERS}/detail")
    assert [one["id"] for one in answer.json()["servers"]] == [made]
    assert "site1" in answer.headers["x-atoll-missing-sites"]


async def test_who_searches_all_sites_again_and_again_is_told_to_wait(atoll, user, clouds, hostile):
    answers = [await user.get(f"{SERVERS}/{n:08x}{UNKNOWN[8:]}") for n in range(80)]
    refused = [one for one in answers if one.status_code == 429]
    assert refused
    assert int(refused[0].headers["retry-after"]) >= 1
    assert len({one.head.target for one in hostile.asked}) <= 45
    async with client_of(atoll, clouds.keystone.token("alt_demo")) as other:
        assert (await other.get(f"{SERVERS}/{UNKNOWN}")).status_code == 404, (
            "each project has its own measure"
        )
