"""Keystone to Keystone with real ones: 2026.2 vouches, 2024.1 behind Apache and mod_shib lets in.

The sites are simulated; each asks its own real Keystone about every token.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.federation.conftest import Asking, Federated
from tests.federation.keystones import PASSWORD
from tests.scenarios.conftest import SERVERS, instances_of

from atoll.sandbox.real.api import Cloud, send
from atoll.sandbox.real.federation import SERVICE_PROVIDER, serve
from atoll.sandbox.real.model import Credentials, Keystone
from atoll.sandbox.simulated import Site

pytestmark = pytest.mark.filterwarnings("default")


def client(federated: Federated, user: str = "demo", project: str | None = None) -> httpx.AsyncClient:
    return federated.atoll.client(federated.pair.token(user, project))


async def boot(user: httpx.AsyncClient, zone: str, image: str) -> str:
    server = {"name": zone, "flavorRef": "42", "imageRef": image, "availability_zone": zone}
    answer = await user.post(SERVERS, json={"server": server})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["server"]["id"])


def used_at(site: Site) -> set[str]:
    """The tokens that a site was shown."""
    return {token for seen in site.listener.seen if (token := seen.header("x-auth-token"))}


def revoke(keystone: Keystone, *tokens: str) -> None:
    for token in tokens:
        send("DELETE", f"{keystone.url}/auth/tokens", subject(token))


def subject(token: str) -> dict[str, str]:
    return {"X-Auth-Token": token, "X-Subject-Token": token}


async def test_one_cloud_of_two_by_the_clients_ids(federated):
    image = federated.here.image_id("cirros")
    idp = Cloud(federated.pair.idp.admin_credentials, "RegionOne")
    projects = {one["name"]: one["id"] for one in idp.get("identity", "/projects")["projects"]}
    users = {one["name"]: one["id"] for one in idp.get("identity", "/users")["users"]}
    async with client(federated) as user:
        made = {zone: await boot(user, zone, image) for zone in ("site1", "site2")}
        answer = await user.get(f"{SERVERS}/detail")
        assert "x-atoll-missing-sites" not in answer.headers
        servers = answer.json()["servers"]
        assert {one["id"] for one in servers} == set(made.values())
        assert {one["tenant_id"] for one in servers} == {projects["demo"]}
        assert {one["user_id"] for one in servers} == {users["demo"]}
        for ident in made.values():
            assert (await user.get(f"{SERVERS}/{ident}")).json()["server"]["id"] == ident
    (there,) = instances_of(federated.there)
    assert there.project_id not in projects.values()
    assert len(there.user_id) == 64, "an ephemeral user of the other Keystone"
    async with client(federated, "admin", "demo") as admin:
        listed = (await admin.get(f"{SERVERS}/detail?all_tenants=1")).json()["servers"]
        assert {one["id"] for one in listed} == set(made.values())


async def test_a_project_that_is_not_let_in_has_nothing_there(federated):
    async with client(federated, "alt_demo") as user:
        answer = await user.get(f"{SERVERS}/detail")
        assert answer.status_code == 200
        assert "x-atoll-missing-sites" not in answer.headers
        server = {"name": "x", "flavorRef": "42", "imageRef": "x", "availability_zone": "site2"}
        refused = await user.post(SERVERS, json={"server": server})
        assert refused.status_code == 403
        assert "site2" in refused.text
        assert "mapping" in refused.text


async def test_a_token_that_is_revoked_there_is_got_anew(federated):
    keystone = federated.there.keystone
    assert isinstance(keystone, Asking)
    async with client(federated) as user:
        await boot(user, "site2", federated.here.image_id("cirros"))
        (token,) = used_at(federated.there)
        revoke(federated.pair.federation.sp, token)
        answer = await user.get(f"{SERVERS}/detail")
        assert len(answer.json()["servers"]) == 1
        assert "x-atoll-missing-sites" not in answer.headers
    assert token in keystone.refused


async def test_a_token_of_the_caller_that_is_revoked_here_is_401(federated):
    token = federated.pair.token()
    async with federated.atoll.client(token) as user:
        assert (await user.get(f"{SERVERS}/detail")).status_code == 200
        revoke(federated.pair.idp, token)
        revoke(federated.pair.federation.sp, *used_at(federated.there))
        # The gateway believes the token for a while yet; the exchange finds out.
        await user.get(f"{SERVERS}/detail")
        assert (await user.get(f"{SERVERS}/detail")).status_code == 401


async def test_the_token_of_an_application_credential_is_as_good(federated):
    idp = federated.pair.idp
    demo = Cloud(Credentials(idp.url, "demo", PASSWORD, "demo"), "RegionOne")
    user_id = send("GET", f"{idp.url}/auth/tokens", subject(demo.token))[1]["token"]["user"]["id"]
    body = {"application_credential": {"name": "k2k", "roles": [{"name": "member"}]}}
    made = demo.post("identity", f"/users/{user_id}/application_credentials", body)["application_credential"]
    try:
        methods = {"methods": ["application_credential"]}
        who = {"application_credential": {"id": made["id"], "secret": made["secret"]}}
        headers, _ = send("POST", f"{idp.url}/auth/tokens", {}, {"auth": {"identity": methods | who}})
        async with federated.atoll.client(headers["x-subject-token"]) as user:
            await boot(user, "site2", federated.here.image_id("cirros"))
            answer = await user.get(f"{SERVERS}/detail")
            assert "x-atoll-missing-sites" not in answer.headers
    finally:
        demo.call("DELETE", "identity", f"/users/{user_id}/application_credentials/{made['id']}")


def test_the_stock_client_comes_in_by_what_the_how_to_says(pair):
    words = ["--os-auth-url", pair.idp.url, "--os-auth-type", "v3password", "--os-username", "demo"]
    words += ["--os-password", PASSWORD, "--os-project-name", "demo", "--os-user-domain-id", "default"]
    words += ["--os-project-domain-id", "default", "--os-service-provider", SERVICE_PROVIDER]
    words += ["--os-remote-project-name", "demo", "--os-remote-project-domain-name", "Default"]
    command = [str(Path(sys.executable).with_name("openstack")), *words, "token", "issue", "-f", "json"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr
    sp = Cloud(pair.federation.sp.admin_credentials, "RegionOld")
    projects = {one["name"]: one["id"] for one in sp.get("identity", "/projects")["projects"]}
    assert json.loads(done.stdout)["project_id"] == projects["demo"]


async def test_nobody_comes_in_without_an_assertion(federated):
    url = federated.pair.federation.auth_url
    forged = {"Shib-Identity-Provider": federated.pair.federation.idp_entity, "openstack_user": "admin"}
    async with httpx.AsyncClient(timeout=30) as anybody:
        refused = await anybody.get(url, headers=forged)
        assert refused.status_code not in {200, 201}, "Apache asks for a session"
        direct = url.replace(federated.pair.federation.url, federated.pair.federation.sp.url)
        refused = await anybody.get(direct, headers=forged)
        assert refused.status_code == 401, "the Keystone itself believes no header"


async def test_a_service_provider_that_is_away_is_named(federated):
    pair = federated.pair
    _, apache = pair.federation.processes
    pair.processes.stop([apache])
    try:
        async with client(federated) as user:
            answer = await user.get(f"{SERVERS}/detail")
            assert answer.status_code == 200
            assert "site2" in answer.headers["x-atoll-missing-sites"]
            assert "cannot be reached" in answer.headers["x-atoll-missing-sites"]
    finally:
        serve(pair.federation, pair.processes)
