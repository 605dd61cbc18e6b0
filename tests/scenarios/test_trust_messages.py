"""What a site says in words, in a cloud of its own: with the clients' ids, whatever it is written in.

site1's compute service is written by hand; its Keystone and site2 are honest.
"""

import gzip
import json
from collections.abc import AsyncIterator

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.origin import Exchange, Origin
from tests.running import Atoll
from tests.scenarios.apart import Apart, apart
from tests.scenarios.conftest import SERVERS, UNKNOWN, Client, client_of

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")


class Site:
    """Answers every request but those for its versions alike: `said` is (status, body, lines)."""

    def __init__(self) -> None:
        self.said: tuple[int, bytes, tuple[bytes, ...]] = (200, b'{"servers": []}', ())

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.body()
        status, body, lines = self.said
        await exchange.answer(status, body, *lines)


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        yield made


@pytest.fixture
async def site() -> AsyncIterator[tuple[Site, str]]:
    script = Site()
    async with Origin(script) as origin:
        yield script, f"{origin.url}/compute/v2.1"


@pytest.fixture
async def atoll(start_atoll: StartAtoll, clouds: Apart, site: tuple[Site, str]) -> Atoll:
    sites = {**clouds.sites, "site1": {**clouds.sites["site1"], "endpoints": {"compute": site[1]}}}
    return await start_atoll(clouds.auth_url, sites, credentials=clouds.credentials("demo"), **clouds.tables)


@pytest.fixture
async def user(atoll: Atoll, clouds: Apart) -> AsyncIterator[Client]:
    async with client_of(atoll, clouds.keystone.token()) as client:
        yield client


def ids(clouds: Apart) -> tuple[list[str], list[str]]:
    """(project and user at the site, the same of the clients)."""
    theirs, ours = (
        [keystone.project_id("demo"), keystone.store.id_of("user", "demo")]
        for keystone in (clouds.cloud.site("site1").keystone, clouds.keystone)
    )
    return theirs, ours


KINDS = {
    "json": (b"application/json", '{{"conflictingRequest": {{"code": 409, "message": "{}"}}}}'),
    "html": (b"text/html; charset=UTF-8", "<html><body>{}</body></html>"),
    "text": (b"text/plain", "409 Conflict\n\n{}\n"),
    "none": (b"application/octet-stream", "{}"),
}
WORDS = (
    "Quota exceeded for project {0}.", "Policy doesn't allow '{1}' ({0}) to do so.", "user={1};project={0},x",
    "{0}", "https://h/v3/projects/{0}: no", "project_id:{0} user_id:'{1}'",
)  # fmt: skip


async def known(user: Client, clouds: Apart, site: tuple[Site, str]) -> None:
    """Have it known that the server is at the site; from then on the shortest way is taken to it."""
    server = json.loads(shown(ids(clouds)[0]))["server"]
    site[0].said = 200, json.dumps({"servers": [{**server, "created": "2030-01-01T00:00:00Z"}]}).encode(), ()
    assert UNKNOWN in (await user.get(f"{SERVERS}/detail")).text


@pytest.mark.parametrize("way", ["in the lane", "with a query", "as a change"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_names_nobody_by_an_id_of_the_sites(user, clouds, site, kind, way):
    theirs, ours = ids(clouds)
    content_type, form = KINDS[kind]
    await known(user, clouds, site)
    for words in WORDS:
        for packed in (False, True):
            said = form.format(words.format(*theirs)).encode()
            lines = [b"Content-Type: " + content_type, f"X-Reason: {words.format(*theirs)}".encode()]
            if packed:
                lines.append(b"Content-Encoding: gzip")
            site[0].said = 409, gzip.compress(said) if packed else said, tuple(lines)
            if way == "as a change":
                answer = await user.put(f"{SERVERS}/{UNKNOWN}", json={"server": {"name": "x"}})
            else:
                answer = await user.get(f"{SERVERS}/{UNKNOWN}{'?x=1' if way == 'with a query' else ''}")
            assert answer.status_code == 409, answer.text
            assert answer.text == form.format(words.format(*ours))
            assert answer.headers["x-reason"] == words.format(*ours)


def shown(who: list[str]) -> bytes:
    server = {"id": UNKNOWN, "name": "vm", "tenant_id": who[0], "user_id": who[1], "status": "ACTIVE"}
    return json.dumps({"server": server}).encode()


async def test_nor_does_a_list_that_lacks_the_site(user, clouds, site):
    theirs, _ = ids(clouds)
    for status in (403, 409, 500, 503):
        site[0].said = (
            status,
            json.dumps({"x": {"message": f"not for {theirs[0]} or {theirs[1]}"}}).encode(),
            (),
        )
        answer = await user.get(f"{SERVERS}/detail")
        assert "site1" in answer.headers["x-atoll-missing-sites"]
        told = str(answer.headers) + answer.text
        assert [one for one in theirs if one in told] == []


@pytest.mark.parametrize("query", ["", "?x=1"])
async def test_nor_does_a_header_of_a_good_answer(user, clouds, site, query):
    theirs, ours = ids(clouds)
    await known(user, clouds, site)
    site[0].said = 200, shown(theirs), (
        f"Link: </v2.1/{theirs[0]}/servers>; rel=help".encode(),
        f'Warning: 299 - "project {theirs[0]} is old"'.encode(),
        f"Content-Location: /v2.1/{theirs[0]}/servers/{UNKNOWN}".encode(),
    )  # fmt: skip
    for _ in range(12):  # heads that come often are known by their form
        answer = await user.get(f"{SERVERS}/{UNKNOWN}{query}")
        assert answer.status_code == 200
        assert answer.headers["link"] == f"</v2.1/{ours[0]}/servers>; rel=help"
        assert answer.headers["warning"] == f'299 - "project {ours[0]} is old"'
        assert answer.headers["content-location"] == f"/v2.1/{ours[0]}/servers/{UNKNOWN}"


async def test_what_only_has_such_an_id_in_it_stays(user, clouds, site):
    theirs, _ = ids(clouds)
    await known(user, clouds, site)
    for words in (f"x{theirs[0]}", f"{theirs[0]}0", f"{theirs[0][:-1]}"):
        site[0].said = 409, words.encode(), (b"Content-Type: text/plain",)
        assert (await user.get(f"{SERVERS}/{UNKNOWN}?x=1")).text == words


async def test_the_name_of_a_key_is_the_one_that_the_user_gave(user, clouds, site):
    _, ours = ids(clouds)
    await known(user, clouds, site)
    said = json.dumps(
        {"conflictingRequest": {"code": 409, "message": f"Key pair '{ours[1]}-k' already exists."}}
    )
    site[0].said = 409, said.encode(), ()
    answer = await user.post("/compute/v2.1/os-keypairs", json={"keypair": {"name": "k"}})
    assert answer.json()["conflictingRequest"]["message"] == "Key pair 'k' already exists."


async def test_an_error_in_a_coding_that_is_not_undone_passes_as_it_is(user, clouds, site):
    await known(user, clouds, site)
    site[0].said = 409, b"\x0b\x02\x80", (b"Content-Type: text/html", b"Content-Encoding: x-odd")
    answer = await user.get(f"{SERVERS}/{UNKNOWN}?x=1")
    assert (answer.status_code, answer.content) == (409, b"\x0b\x02\x80")
    assert answer.headers["content-encoding"] == "x-odd"
