"""A gateway that is the Keystone of its clients: stock clients, revocation, several gateways."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import pytest
from tests.conftest import StartAtoll
from tests.identities import directory_in
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, server_body

from atoll.identity.directory import Directory
from atoll.identity.keys import TokenKey
from atoll.identity.setup import Account, ensure_account
from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.identity import PASSWORD as SIMULATED
from atoll.trust.sealing import fingerprint, new_key

PASSWORD = "correct horse"
TOKENS = "/identity/v3/auth/tokens"


@dataclass(slots=True, kw_only=True)
class Front:
    """A gateway with `me` (admin) and `you` (member) of the project lab, and its store."""

    atoll: Atoll
    directory: Directory

    def entry(self, user: str = "me") -> dict[str, Any]:
        """What stands in clouds.yaml for a user."""
        domains = {"user_domain_id": "default", "project_domain_id": "default"}
        auth = {"auth_url": f"{self.atoll.url}/identity/v3", "username": user, "password": PASSWORD}
        return {"auth": {**auth, "project_name": "lab", **domains}, "region_name": "Atoll"}

    async def token(self, user: str = "me", *, atoll: Atoll | None = None) -> str:
        """A token of a user for the project lab."""
        who = {"name": user, "domain": {"id": "default"}, "password": PASSWORD}
        scope = {"project": {"name": "lab", "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": who}}
        async with (atoll or self.atoll).client() as client:
            answer = await client.post(TOKENS, json={"auth": {"identity": identity, "scope": scope}})
        assert answer.status_code == 201, answer.text
        return answer.headers["x-subject-token"]

    async def zones(self, token: str, *, atoll: Atoll | None = None) -> int:
        """With which status Atoll's own API answers a token."""
        async with (atoll or self.atoll).client(token) as client:
            return (await client.get("/atoll/v1/zones")).status_code


def behind(cloud: Cloud) -> tuple[dict[str, Any], dict[str, Any]]:
    """(sites, clouds) for a gateway whose sites do not know its tokens."""
    sites = {name: {**one, "cloud": "simulated"} for name, one in sites_of(cloud).items()}
    return sites, {"simulated": {"auth_url": cloud.keystone.auth_url}}


@pytest.fixture
async def front(start_atoll: StartAtoll, cloud: Cloud, database: Path) -> AsyncIterator[Front]:
    async with directory_in(database) as directory:
        lab = await directory.create_project("lab")
        for name, role in (("me", "admin"), ("you", "member")):
            user = await directory.create_user(name, PASSWORD)
            await directory.assign(user.id, lab.id, role)
        sites, clouds = behind(cloud)
        yield Front(atoll=await start_atoll("", sites, clouds=clouds), directory=directory)


async def run_openstack(front: Front, folder: Path, *words: str) -> Any:
    """What the stock command says, as JSON."""
    file = folder / "clouds.yaml"
    file.write_text(json.dumps({"clouds": {name: front.entry(name) for name in ("me", "you")}}))
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("openstack")), *words,
        env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(file), "OS_CLOUD": "me"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()
    return json.loads(out) if out.strip() else None


async def test_the_openstack_command(front: Front, tmp_path: Path) -> None:
    async def ask(*words: str) -> Any:
        return await run_openstack(front, tmp_path, *words, "-f", "json")

    token, catalog = await asyncio.gather(ask("token", "issue"), ask("catalog", "list"))
    assert await front.zones(token["id"]) == 200
    assert {entry["Type"] for entry in catalog} == {
        "identity", "compute", "block-storage", "image", "network", "atoll"
    }  # fmt: skip
    await run_openstack(front, tmp_path, "role", "add", "--user", "you", "--project", "lab", "reader")


@pytest.mark.filterwarnings("ignore")  # the SDK warns of itself
async def test_openstacksdk(front: Front) -> None:
    def use() -> None:
        entry = front.entry("you")
        mine: Any = openstack.connect(load_yaml_config=False, load_envvars=False, **entry)
        assert mine.current_project.name == "lab"
        assert [one.name for one in mine.identity.user_projects(mine.current_user_id)] == ["lab"]
        made = mine.identity.create_application_credential(
            mine.current_user_id, "script", roles=[{"name": "reader"}]
        )
        auth = {
            "auth_url": entry["auth"]["auth_url"],
            "application_credential_id": made.id,
            "application_credential_secret": made.secret,
        }
        script: Any = openstack.connect(
            load_yaml_config=False, load_envvars=False, auth_type="v3applicationcredential", auth=auth,
            region_name="Atoll",
        )  # fmt: skip
        assert script.current_user_id == mine.current_user_id
        assert script.session.auth.get_access(script.session).role_names == ["reader"]
        admin: Any = openstack.connect(load_yaml_config=False, load_envvars=False, **front.entry("me"))
        user = admin.identity.create_user(name="third", password=PASSWORD, email="third@example.org")
        lab = admin.identity.find_project("lab")
        role = admin.identity.find_role("member")
        admin.identity.assign_project_role_to_user(lab, user, role)
        assert admin.identity.validate_user_has_project_role(lab, user, role)
        assert {one.name for one in admin.identity.users(limit=1)} == {"me", "you", "third"}
        assert {one.url for one in admin.identity.endpoints()} >= {entry["auth"]["auth_url"]}
        admin.identity.delete_user(user)
        for one in (mine, script, admin):
            one.close()

    await asyncio.to_thread(use)


async def test_a_revoked_token_is_refused_at_once_and_by_other_gateways_soon(
    front: Front, start_atoll: StartAtoll, cloud: Cloud
) -> None:
    sites, clouds = behind(cloud)
    other = await start_atoll("", sites, clouds=clouds)
    token = await front.token("you")
    assert await front.zones(token) == 200
    assert await front.zones(token, atoll=other) == 200
    async with front.atoll.client(token) as client:
        revoked = await client.request("DELETE", TOKENS, headers={"X-Subject-Token": token})
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert await front.zones(token) == 401
    async with asyncio.timeout(30):
        while await front.zones(token, atoll=other) != 401:  # noqa: ASYNC110 - it asks once a second
            await asyncio.sleep(0.05)


async def test_what_is_changed_in_the_store_holds_in_the_gateway(front: Front) -> None:
    token, me = await front.token("you"), await front.token()
    you = front.directory.user_named("you")
    assert you is not None
    assert await front.zones(token) == 200
    await front.directory.update_user(you.id, enabled=False)
    async with asyncio.timeout(30):
        while await front.zones(token) != 401:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    assert await front.zones(me) == 200


async def test_a_user_of_a_moment_ago_may_log_in_and_be_known_everywhere(
    front: Front, start_atoll: StartAtoll, cloud: Cloud
) -> None:
    sites, clouds = behind(cloud)
    other = await start_atoll("", sites, clouds=clouds)
    lab = front.directory.project_named("lab")
    assert lab is not None
    new = await front.directory.create_user("new", PASSWORD)
    await front.directory.assign(new.id, lab.id, "member")
    token = await front.token("new")
    assert await front.zones(token, atoll=other) == 200


async def test_answers_have_the_headers_and_forms_of_keystone(front: Front) -> None:
    async with front.atoll.client() as client:
        answers = {path: await client.get(path) for path in ("/identity", "/identity/v3", "/identity/v2.0")}
        assert [one.status_code for one in answers.values()] == [300, 200, 404]
        refused = await client.get("/identity/v3/users")
        assert refused.headers["www-authenticate"] == f'Keystone uri="{front.atoll.url}/identity/v3"'
        bad = await client.post(TOKENS, content=b"{", headers={"Content-Type": "application/json"})
        assert (bad.status_code, bad.json()["error"]["title"]) == (400, "Bad Request")
        large = await client.post(TOKENS, content=b" " * 200_000)
        assert large.status_code == 413
        for answer in (*answers.values(), refused, bad):
            assert answer.headers["vary"] == "X-Auth-Token"
            assert answer.headers["x-openstack-request-id"].startswith("req-")
    async with front.atoll.client(await front.token()) as client:
        assert (await client.get("/identity/v3/groups")).json()["error"]["code"] == 501
        head = await client.head("/identity/v3/users")
        assert (head.status_code, head.content) == (200, b"")


async def test_too_many_wrong_passwords_are_429_with_the_time_to_wait(front: Front) -> None:
    who = {"name": "you", "domain": {"id": "default"}, "password": "wrong"}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}}}
    async with front.atoll.client() as client:
        answers = [await client.post(TOKENS, json=body) for _ in range(12)]
    assert {one.status_code for one in answers[:10]} == {401}
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


async def test_access_rules_hold_for_identity_too(front: Front) -> None:
    token = await front.token("you")
    rule = {"service": "identity", "method": "GET", "path": "/v3/auth/projects"}
    async with front.atoll.client(token) as client:
        you = (await client.get("/identity/v3/auth/tokens", headers={"X-Subject-Token": token})).json()
        path = f"/identity/v3/users/{you['token']['user']['id']}/application_credentials"
        given = {"application_credential": {"name": "c", "access_rules": [rule]}}
        made = (await client.post(path, json=given)).json()["application_credential"]
        credential = {"id": made["id"], "secret": made["secret"]}
        identity = {"methods": ["application_credential"], "application_credential": credential}
        answer = await client.post(TOKENS, json={"auth": {"identity": identity}})
    async with front.atoll.client(answer.headers["x-subject-token"]) as client:
        assert (await client.get("/identity/v3/auth/projects")).status_code == 200
        assert (await client.get(path)).status_code == 401


async def test_nobody_yet_is_said_with_what_to_do(
    start_atoll: StartAtoll, cloud: Cloud, log_lines: list[Any]
) -> None:
    sites, clouds = behind(cloud)
    await start_atoll("", sites, clouds=clouds)
    (said,) = [line for line in log_lines if line["event"] == "no_user_yet"]
    assert "atoll user add" in said["make_one"]


LOGIN = {
    "username": "demo", "password": SIMULATED, "project_name": "demo", "user_domain_id": "default",
    "project_domain_id": "default",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Way:
    """A gateway whose user `you`, member of lab, has a credential at the cloud behind it."""

    front: Front
    account: Account
    token: str
    key: Path


@pytest.fixture
async def way(start_atoll: StartAtoll, cloud: Cloud, database: Path, tmp_path: Path) -> AsyncIterator[Way]:
    key = tmp_path / "key"
    key.write_text(new_key())
    key.chmod(0o600)
    async with directory_in(database) as directory:
        account = await ensure_account(directory, "you", "lab", role="member", known=PASSWORD)
        sites, clouds = behind(cloud)
        atoll = await start_atoll("", sites, clouds=clouds, secrets={"key": [f"file:{key}"]})
        await atoll.settled()
        front = Front(atoll=atoll, directory=directory)
        token = await front.token("you")
        auth = {"auth_url": cloud.keystone.auth_url, **LOGIN}
        async with atoll.client(token) as client:
            assert (await client.get(SERVERS)).status_code == 403
            given = {"cloud": "simulated", "auth_type": "password", "auth": auth}
            added = await client.post("/atoll/v1/credentials", json=given)
            assert added.status_code == 201, added.text
        yield Way(front=front, account=account, token=token, key=key)


async def test_from_the_first_user_to_a_server_at_a_cloud_that_knows_nobody(way: Way, cloud: Cloud) -> None:
    async with way.front.atoll.client(way.token) as client:
        made = await client.post(SERVERS, json=server_body(cloud, networks="none"))
        assert made.status_code == 202, made.text
        (server,) = (await client.get("/compute/v2.1/servers/detail")).json()["servers"]
    assert (server["tenant_id"], server["user_id"]) == (way.account.project.id, way.account.user.id)
    assert sum(len(site.compute.instances) for site in cloud.sites) == 1


async def test_a_role_taken_away_counts_while_the_token_lives(way: Way, cloud: Cloud) -> None:
    """Whatever the credential could do at the cloud."""
    body = server_body(cloud, networks="none")
    who = (way.account.user.id, way.account.project.id)
    async with way.front.atoll.client(way.token) as client:
        assert (await client.post(SERVERS, json=body)).status_code == 202
        await way.front.directory.assign(*who, "reader")
        await way.front.directory.unassign(*who, "member")
        async with asyncio.timeout(30):
            while (answer := await client.post(SERVERS, json=body)).status_code == 202:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert answer.status_code == 403
        assert "needs the role member" in answer.json()["forbidden"]["message"]
        assert (await client.get(SERVERS)).status_code == 200


async def test_the_keys_of_tokens_are_sealed_as_credentials_are(way: Way) -> None:
    registry = way.front.directory.registry
    await registry.load()
    (kept,) = registry.all(TokenKey).values()
    assert kept.secret.startswith(fingerprint(way.key.read_text()))
