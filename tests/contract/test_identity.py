"""Identity v3: discovery, tokens, catalogue, and registering a region."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.contract.conftest import Answer, SiteUnderTest, fetch

REQUIRES = "The request you have made requires authentication."


def call(site: SiteUnderTest, method: str, path: str, body: Any = None, **options: Any) -> Answer:
    return site.call(method, "identity", path, body, **options)


def test_discovery(site: SiteUnderTest) -> None:
    root = call(site, "GET", "/", user=None)
    assert root.status == 300
    assert root.json["versions"]["values"][0]["id"] == "v3.14"
    for path in ("/v3", "/v3/"):
        answer = call(site, "GET", path, user=None)
        assert (answer.status, answer.json["version"]) == (200, root.json["versions"]["values"][0])
        assert answer.header("vary") == "X-Auth-Token"


def test_unknown_route_is_html_404(site: SiteUnderTest) -> None:
    answer = call(site, "GET", "/v3/nope")
    assert answer.status == 404
    assert answer.text.startswith("<!doctype html>")


@pytest.mark.parametrize("user", [None, "invalid"])
def test_no_token_is_401(site: SiteUnderTest, user: str | None) -> None:
    answer = call(site, "GET", "/v3/projects", user=user)
    assert answer.status == 401
    assert answer.raw == b'{"error":{"code":401,"message":"%b","title":"Unauthorized"}}\n' % REQUIRES.encode()
    assert (answer.header("www-authenticate") or "").startswith('Keystone uri="')


@pytest.mark.parametrize("password", ["wrong", ""])
def test_wrong_password_is_401(site: SiteUnderTest, password: str) -> None:
    user = {"name": "demo", "domain": {"id": "default"}, "password": password}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    answer = call(site, "POST", "/v3/auth/tokens", body, user=None)
    assert (answer.status, answer.json["error"]["message"]) == (401, REQUIRES)


def test_token_is_scoped_by_token(site: SiteUnderTest) -> None:
    identity = {"methods": ["token"], "token": {"id": site.demo.token}}
    scope = {"project": {"id": site.demo.project_id}}
    answer = call(
        site, "POST", "/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}}, user=None
    )
    assert answer.status == 201
    assert {role["name"] for role in answer.json["token"]["roles"]} == {"member", "reader"}
    scope = {"project": {"id": site.admin.project_id}}
    answer = call(
        site, "POST", "/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}}, user=None
    )
    assert answer.status == 401


def test_a_user_validates_the_own_token_only(site: SiteUnderTest) -> None:
    own = call(site, "GET", "/v3/auth/tokens", headers={"X-Subject-Token": site.demo.token})
    assert own.status == 200
    assert own.json["token"]["project"]["id"] == site.demo.project_id
    assert own.header("x-subject-token") == site.demo.token
    head = call(site, "HEAD", "/v3/auth/tokens", headers={"X-Subject-Token": site.demo.token})
    assert (head.status, head.raw) == (200, b"")
    other = call(site, "GET", "/v3/auth/tokens", headers={"X-Subject-Token": site.admin.token})
    assert other.status == 403
    unknown = call(site, "GET", "/v3/auth/tokens", headers={"X-Subject-Token": "bad"})
    assert (unknown.status, unknown.json["error"]["title"]) == (404, "Not Found")
    assert call(site, "GET", "/v3/auth/tokens").status == 403
    checked = call(site, "GET", "/v3/auth/tokens", headers={"X-Subject-Token": site.demo.token}, user="admin")
    assert checked.status == 200


def test_a_revoked_token_is_not_validated(site: SiteUnderTest) -> None:
    identity = {"methods": ["token"], "token": {"id": site.demo.token}}
    body = {"auth": {"identity": identity, "scope": {"project": {"id": site.demo.project_id}}}}
    token = call(site, "POST", "/v3/auth/tokens", body, user=None).header("x-subject-token") or ""
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    assert call(site, "DELETE", "/v3/auth/tokens", user=None, headers=headers).status == 204
    checked = call(site, "GET", "/v3/auth/tokens", user="admin", headers={"X-Subject-Token": token})
    assert (checked.status, checked.json["error"]["message"]) == (404, "Failed to validate token")


def test_catalog_and_projects_of_a_token(site: SiteUnderTest) -> None:
    catalog = call(site, "GET", "/v3/auth/catalog").json["catalog"]
    types = {entry["type"] for entry in catalog}
    assert {"compute", "image", "network", "identity", "block-storage"} <= types
    volume = next(entry for entry in catalog if entry["type"] == "block-storage")
    assert all(endpoint["url"].endswith(site.demo.project_id) for endpoint in volume["endpoints"])
    projects = call(site, "GET", "/v3/auth/projects").json
    assert [project["name"] for project in projects["projects"]] == ["demo"]
    assert projects["links"]["next"] is None


@pytest.mark.parametrize("kind", ["projects", "users", "services", "endpoints", "roles", "domains"])
def test_lists_need_admin(site: SiteUnderTest, kind: str) -> None:
    answer = call(site, "GET", f"/v3/{kind}")
    message = f"You are not authorized to perform the requested action: identity:list_{kind}."
    if kind != "roles" and kind != "domains":
        assert (answer.status, answer.json["error"]["message"]) == (403, message)
    listed = call(site, "GET", f"/v3/{kind}", user="admin")
    assert listed.status == 200
    assert all("self" in record["links"] for record in listed.json[kind])


def test_a_region_is_registered_and_removed(site: SiteUnderTest) -> None:
    body = {"region": {"id": "contract-region"}}
    assert call(site, "POST", "/v3/regions", body).status == 403
    made = call(site, "POST", "/v3/regions", body, user="admin")
    site.undo.append(lambda: call(site, "DELETE", "/v3/regions/contract-region", user="admin"))
    assert (made.status, made.json["region"]["id"]) == (201, "contract-region")
    again = call(site, "POST", "/v3/regions", body, user="admin")
    message = "Conflict occurred attempting to store region - Duplicate ID, contract-region.."
    assert (again.status, again.json["error"]["message"]) == (409, message)
    service = {"service": {"type": "contract", "name": "contract"}}
    service_id = call(site, "POST", "/v3/services", service, user="admin").json["service"]["id"]
    site.undo.append(lambda: call(site, "DELETE", f"/v3/services/{service_id}", user="admin"))
    url = "http://127.0.0.1:9/$(project_id)s"
    endpoint = {"service_id": service_id, "interface": "public", "region_id": "contract-region", "url": url}
    made = call(site, "POST", "/v3/endpoints", {"endpoint": endpoint}, user="admin")
    assert made.status == 201
    endpoint_id = made.json["endpoint"]["id"]
    entry = next(e for e in call(site, "GET", "/v3/auth/catalog").json["catalog"] if e["type"] == "contract")
    assert entry["endpoints"][0]["url"] == f"http://127.0.0.1:9/{site.demo.project_id}"
    assert call(site, "DELETE", f"/v3/endpoints/{endpoint_id}", user="admin").status == 204
    missing = call(site, "GET", f"/v3/endpoints/{endpoint_id}", user="admin")
    assert (missing.status, missing.json["error"]["message"]) == (
        404,
        f"Could not find endpoint: {endpoint_id}.",
    )


def test_application_credentials(site: SiteUnderTest) -> None:
    path = f"/v3/users/{site.demo.user_id}/application_credentials"
    made = call(site, "POST", path, {"application_credential": {"name": "contract"}})
    assert made.status == 201
    record = made.json["application_credential"]
    site.undo.append(lambda: call(site, "DELETE", f"{path}/{record['id']}"))
    credential = {"id": record["id"], "secret": record["secret"]}
    identity = {"methods": ["application_credential"], "application_credential": credential}
    token = call(site, "POST", "/v3/auth/tokens", {"auth": {"identity": identity}}, user=None)
    assert (token.status, token.json["token"]["project"]["id"]) == (201, site.demo.project_id)
    credential["secret"] = "wrong"
    assert call(site, "POST", "/v3/auth/tokens", {"auth": {"identity": identity}}, user=None).status == 401
    shown = call(site, "GET", f"{path}/{record['id']}")
    assert "secret" not in shown.json["application_credential"]


def test_no_two_trusts_end_in_the_same_second(site: SiteUnderTest) -> None:
    """Of the same two users in a project; one that is deleted counts too."""
    path, minutes = "/v3/OS-TRUST/trusts", secrets.randbelow(40 * 365 * 24 * 60)
    end = datetime(2040, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)

    def make(second: int) -> Answer:
        trust = {
            "trustor_user_id": site.demo.user_id, "trustee_user_id": site.admin.user_id,
            "project_id": site.demo.project_id, "impersonation": True, "roles": [{"name": "member"}],
            "expires_at": f"{end:%Y-%m-%dT%H:%M}:{second:02}.000000Z",
        }  # fmt: skip
        return site.call("POST", "identity", path, {"trust": trust})

    made = [make(second) for second in (1, 2)]
    assert [one.status for one in made] == [201, 201], made[0].text
    deleted = [site.call("DELETE", "identity", f"{path}/{one.json['trust']['id']}").status for one in made]
    assert deleted == [204, 204]
    refused = make(1)
    assert refused.status == 409
    assert refused.json["error"]["message"].startswith("Conflict occurred attempting to store trust")


def test_method_not_allowed(site: SiteUnderTest) -> None:
    answer = fetch("PUT", site.root("identity") + "/v3/regions", {"X-Auth-Token": site.admin.token}, b"")
    assert answer.status == 405
    assert answer.json == {"message": "The method is not allowed for the requested URL."}
