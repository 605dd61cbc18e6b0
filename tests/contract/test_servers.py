"""Servers of compute: create and its faults, lists, pages, markers, sorting, actions, parts, delete."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.contract.conftest import UNKNOWN, Answer, SiteUnderTest

PATH = "/v2.1/servers"


def version(number: str) -> dict[str, str]:
    return {"OpenStack-API-Version": f"compute {number}"}


def call(
    site: SiteUnderTest, method: str, path: str, body: Any = None, v: str = "2.1", user: str = "demo"
) -> Answer:
    return site.call(method, "compute", "/v2.1" + path, body, headers=version(v), user=user)


def ingredients(site: SiteUnderTest) -> dict[str, Any]:
    images = site.call("GET", "image", "/v2/images?name=cirros").json["images"]
    networks = site.call("GET", "network", "/v2.0/networks?name=private").json["networks"]
    return {
        "name": "contract",
        "flavorRef": "42",
        "imageRef": images[0]["id"],
        "networks": [{"uuid": networks[0]["id"]}],
    }


def status_is(site: SiteUnderTest, server_id: str, status: str) -> Callable[[], bool]:
    return lambda: bool(call(site, "GET", f"/servers/{server_id}").json["server"]["status"] == status)


def gone(site: SiteUnderTest, server_id: str) -> None:
    call(site, "DELETE", f"/servers/{server_id}")
    site.wait(lambda: call(site, "GET", f"/servers/{server_id}").status == 404)


def boot(site: SiteUnderTest, v: str = "2.1", **more: Any) -> str:
    answer = call(site, "POST", "/servers", {"server": ingredients(site) | more}, v)
    assert answer.status == 202, answer.text
    server_id = str(answer.json["server"]["id"])
    site.undo.append(lambda: gone(site, server_id))
    site.wait(status_is(site, server_id, "ACTIVE"))
    return server_id


def test_create_answers_with_location_and_links(site: SiteUnderTest) -> None:
    answer = call(site, "POST", "/servers", {"server": ingredients(site)})
    assert answer.status == 202
    server = answer.json["server"]
    site.undo.append(lambda: gone(site, server["id"]))
    assert sorted(server) == ["OS-DCF:diskConfig", "adminPass", "id", "links", "security_groups"]
    assert server["links"] == [
        {"rel": "self", "href": f"{site.root('compute')}/v2.1/servers/{server['id']}"},
        {"rel": "bookmark", "href": f"{site.root('compute')}/servers/{server['id']}"},
    ]
    assert answer.header("location") == server["links"][0]["href"]
    site.wait(status_is(site, server["id"], "ACTIVE"))


def test_show_by_microversion(site: SiteUnderTest) -> None:
    server_id = boot(site, metadata={"a": "b"})
    first = call(site, "GET", f"/servers/{server_id}").json["server"]
    assert set(first) == {
        "accessIPv4", "accessIPv6", "addresses", "created", "flavor", "hostId", "id", "image", "links",
        "metadata",
        "name", "status", "tenant_id", "user_id", "updated", "OS-DCF:diskConfig", "progress",
        "OS-EXT-AZ:availability_zone", "config_drive", "key_name", "OS-SRV-USG:launched_at",
        "OS-SRV-USG:terminated_at", "security_groups", "OS-EXT-STS:task_state", "OS-EXT-STS:vm_state",
        "OS-EXT-STS:power_state", "os-extended-volumes:volumes_attached",
    }  # fmt: skip
    assert list(first["flavor"]) == ["id", "links"]
    since = [
        ("2.9", {"locked"}), ("2.19", {"description"}), ("2.26", {"tags"}), ("2.63",
        {"trusted_image_certificates"}),
        ("2.71", {"server_groups"}), ("2.73", {"locked_reason"}), ("2.90", {"OS-EXT-SRV-ATTR:hostname"}),
        ("2.96", {"pinned_availability_zone"}), ("2.100", {"scheduler_hints"}),
    ]  # fmt: skip
    known = set(first)
    for number, added in since:
        shown = call(site, "GET", f"/servers/{server_id}", v=number).json["server"]
        assert set(shown) == known | added, number
        known |= added
    embedded = call(site, "GET", f"/servers/{server_id}", v="2.47").json["server"]["flavor"]
    assert embedded["original_name"] == "m1.nano"
    assert set(embedded) == {"vcpus", "ram", "disk", "ephemeral", "swap", "original_name", "extra_specs"}
    check_latest(site, server_id)


def check_latest(site: SiteUnderTest, server_id: str) -> None:
    latest = call(site, "GET", f"/servers/{server_id}", v="2.104", user="admin").json["server"]
    assert latest["host_status"] == "UP"
    assert {"OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:instance_name", "OS-EXT-SRV-ATTR:reservation_id"} <= set(
        latest
    )
    assert "properties" in latest["image"]
    listed = call(site, "GET", "/servers/detail", v="2.104").json["servers"][0]
    expected = call(site, "GET", f"/servers/{server_id}", v="2.104").json["server"]
    assert set(listed) == set(expected) - {"server_groups"}
    assert (
        call(site, "GET", f"/servers/{server_id}/os-interface", v="2.70").json["interfaceAttachments"][0][
            "tag"
        ]
        is None
    )


@pytest.mark.parametrize(
    ("change", "number", "message"),
    [
        ({"availability_zone": "nope"}, "2.1", "The requested availability zone is not available"),
        ({"networks": [{"uuid": UNKNOWN}]}, "2.1", f"Network {UNKNOWN} could not be found."),
        ({"networks": [{"port": UNKNOWN}]}, "2.1", f"Port id {UNKNOWN} could not be found."),
        ({"key_name": "nope"}, "2.1", "Invalid key_name provided."),
        (
            {"security_groups": [{"name": "nope"}]},
            "2.1",
            "Unable to find security_group with name or id 'nope'",
        ),
        ({"flavorRef": "nope"}, "2.1", "Flavor nope could not be found."),
        ({"imageRef": UNKNOWN}, "2.1", "Can not find requested image"),
        ({"min_count": 2, "max_count": 1}, "2.1", "min_count must be <= max_count"),
        ({"name": ""}, "2.1", "Invalid input for field/attribute name. Value: . '' should be non-empty"),
        (
            {"imageRef": "abc"},
            "2.1",
            (
                "Invalid input for field/attribute imageRef. Value: abc. "
                "'abc' is not valid under any of the given schemas"
            ),
        ),
    ],
)
def test_create_refused(site: SiteUnderTest, change: dict[str, Any], number: str, message: str) -> None:
    answer = call(site, "POST", "/servers", {"server": ingredients(site) | change}, number)
    assert (answer.status, answer.json) == (400, {"badRequest": {"code": 400, "message": message}})


def test_create_schema_faults(site: SiteUnderTest) -> None:
    no_flavor = "Invalid input for field/attribute server. Value: {'name': 'x'}."
    cases: list[tuple[Any, str]] = [
        ({"srv": {}}, "'server' is a required property"),
        ("{bad", "Malformed request body"),
        (None, "None is not of type 'object'"),
        ({"server": {"name": "x"}}, f"{no_flavor} 'flavorRef' is a required property"),
    ]
    for body, message in cases:
        answer = call(site, "POST", "/servers", body)
        assert (answer.status, answer.json["badRequest"]["message"]) == (400, message)
    body = {"name": "x", "flavorRef": "42", "imageRef": UNKNOWN}
    answer = call(site, "POST", "/servers", {"server": body}, "2.37")
    assert answer.json["badRequest"]["message"].endswith("'networks' is a required property")
    answer = call(site, "POST", "/servers", {"server": body | {"description": "x"}}, "2.18")
    assert answer.json["badRequest"]["message"].endswith("('description' was unexpected)")
    hints = {"server": ingredients(site), "os:scheduler_hints": {"group": UNKNOWN}}
    assert (
        call(site, "POST", "/servers", hints).json["badRequest"]["message"]
        == f"Instance group {UNKNOWN} could not be found."
    )


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        (
            "limit=abc",
            400,
            "Invalid input for query parameters limit. Value: abc. 'abc' does not match '^[0-9]*$'",
        ),
        (
            "limit=-1",
            400,
            "Invalid input for query parameters limit. Value: -1. '-1' does not match '^[0-9]*$'",
        ),
        (f"marker={UNKNOWN}", 400, f"marker [{UNKNOWN}] not found"),
        ("marker=abc", 400, "marker [abc] not found"),
        ("sort_dir=nope", 400, "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'"),
        ("nope=1", 400, "'nope' does not match any of the regexes: '^_'"),
        ("status=nope", 400, "Invalid status value"),
        ("ip=[", 400, "Invalid input for query parameters ip. Value: [. '[' is not a 'regex'"),
        ("name=[", 400, "Invalid input for query parameters name. Value: [. '[' is not a 'regex'"),
        (
            "changes-since=abc",
            400,
            "Invalid input for query parameters changes-since. Value: abc. 'abc' is not a 'date-time'",
        ),
        (
            "all_tenants=1",
            403,
            "Policy doesn't allow os_compute_api:servers:index:get_all_tenants to be performed.",
        ),
    ],
)
def test_list_refused(site: SiteUnderTest, query: str, status: int, message: str) -> None:
    answer = call(site, "GET", f"/servers?{query}", v="2.96")
    fault = answer.json["forbidden" if status == 403 else "badRequest"]
    assert (answer.status, fault) == (status, {"code": status, "message": message})


def test_list_sort_key_unknown(site: SiteUnderTest) -> None:
    message = call(site, "GET", "/servers?sort_key=nope", v="2.96").json["badRequest"]["message"]
    assert message.startswith(
        "Invalid input for query parameters sort_key. Value: nope. 'nope' is not one of ["
    )


def test_pages_sorting_and_filters(site: SiteUnderTest) -> None:
    ids = {name: boot(site, name=name) for name in ("contract-b", "contract-a", "contract-c")}
    page = call(site, "GET", "/servers?name=contract-&limit=2&sort_key=display_name&sort_dir=asc").json
    assert [server["name"] for server in page["servers"]] == ["contract-a", "contract-b"]
    assert set(page["servers"][0]) == {"id", "name", "links"}
    marker = page["servers"][-1]["id"]
    query = f"limit=2&name=contract-&sort_dir=asc&sort_key=display_name&marker={marker}"
    assert page["servers_links"] == [{"rel": "next", "href": f"{site.root('compute')}{PATH}?{query}"}]
    rest = call(site, "GET", f"/servers?{query}").json
    assert [server["id"] for server in rest["servers"]] == [ids["contract-c"]]
    assert "servers_links" not in rest
    newest = call(site, "GET", "/servers?name=contract-").json["servers"]
    assert [server["name"] for server in newest] == ["contract-c", "contract-a", "contract-b"]
    oldest = call(site, "GET", "/servers?name=contract-&sort_key=created_at&sort_dir=asc").json["servers"]
    assert [server["name"] for server in oldest] == ["contract-b", "contract-a", "contract-c"]
    project = site.demo.project_id
    scoped = call(site, "GET", f"/{project}/servers?limit=1&name=contract-").json
    link = f"{site.root('compute')}/v2.1/{project}/servers?limit=1&name=contract-&marker={ids['contract-c']}"
    assert scoped["servers_links"][0]["href"] == link
    assert (
        scoped["servers"][0]["links"][1]["href"]
        == f"{site.root('compute')}/{project}/servers/{ids['contract-c']}"
    )
    detail = call(site, "GET", "/servers/detail?limit=1").json
    assert detail["servers_links"][0]["href"].startswith(
        f"{site.root('compute')}{PATH}/detail?limit=1&marker="
    )
    assert call(site, "GET", "/servers?limit=0").json == {"servers": []}
    check_filters(site, ids["contract-a"])


def check_filters(site: SiteUnderTest, server_id: str) -> None:
    address = call(site, "GET", f"/servers/{server_id}").json["server"]["addresses"]["private"][0]["addr"]
    found = call(site, "GET", f"/servers?ip={address}").json["servers"]
    assert "contract-a" in [server["name"] for server in found]
    anchored = call(site, "GET", f"/servers?ip=%5E{address}$").json["servers"]
    assert anchored == []  # Neutron is asked for the text as it is, so anchors match nothing
    assert call(site, "GET", "/servers?status=SHUTOFF&name=contract-").json["servers"] == []
    every = call(site, "GET", "/servers?all_tenants=1&name=contract-", user="admin").json["servers"]
    assert len(every) == 3
    assert call(site, "GET", "/servers?name=contract-", user="admin").json["servers"] == []


def test_one_server_not_found(site: SiteUnderTest) -> None:
    for server_id in (UNKNOWN, "nope"):
        for method in ("GET", "DELETE"):
            answer = call(site, method, f"/servers/{server_id}")
            message = f"Instance {server_id} could not be found."
            assert (answer.status, answer.json) == (404, {"itemNotFound": {"code": 404, "message": message}})
    head = call(site, "HEAD", f"/servers/{UNKNOWN}")
    assert (head.status, head.raw) == (404, b"")


def test_actions(site: SiteUnderTest) -> None:
    server_id = boot(site)
    path = f"/servers/{server_id}/action"

    def refused(body: Any, status: int, message: str) -> None:
        answer = call(site, "POST", path, body, "2.40")
        assert (answer.status, next(iter(answer.json.values()))["message"]) == (status, message)

    refused({"os-start": None}, 409, f"Cannot 'start' instance {server_id} while it is in vm_state active")
    refused(
        {"confirmResize": None},
        409,
        f"Cannot 'confirmResize' instance {server_id} while it is in vm_state active",
    )
    refused(
        {"reboot": {}},
        400,
        "Invalid input for field/attribute reboot. Value: {}. 'type' is a required property",
    )
    refused({"resize": {"flavorRef": "42"}}, 400, "When resizing, instances must change flavor!")
    refused({"resize": {"flavorRef": "nope"}}, 400, "Flavor nope could not be found.")
    refused({"nope": 1}, 400, "There is no such action: nope")
    refused({}, 400, "Malformed request body")
    policy = "Policy doesn't allow os_compute_api:os-admin-actions:reset_state to be performed."
    refused({"os-resetState": {"state": "active"}}, 403, policy)
    group = f"Security group nope is not found for project {site.demo.project_id}"
    refused({"addSecurityGroup": {"name": "nope"}}, 404, group)


def is_active(site: SiteUnderTest, image: str) -> bool:
    return bool(site.call("GET", "image", image).json["status"] == "active")


def is_idle(site: SiteUnderTest, server_id: str) -> bool:
    """Whether nothing is being done with a server: an image is active before its server is idle again."""
    server = call(site, "GET", f"/servers/{server_id}").json["server"]
    return server["OS-EXT-STS:task_state"] is None


def test_an_image_of_a_server_is_told_by_its_location_or_its_id(site: SiteUnderTest) -> None:
    server_id = boot(site)
    made = []
    for version in ("2.1", "2.45"):
        body = {"createImage": {"name": f"of-{version}"}}
        answer = call(site, "POST", f"/servers/{server_id}/action", body, version)
        assert answer.status == 202
        location = answer.header("location")
        assert (location is None) == (version == "2.45")
        made.append(answer.json["image_id"] if location is None else location.rpartition("/images/")[2])
        image = f"/v2/images/{made[-1]}"
        site.wait(partial(is_active, site, image))
        site.wait(partial(is_idle, site, server_id))
        assert site.call("DELETE", "image", image).status == 204
    assert made[0] != made[1]


def test_lock_stop_start(site: SiteUnderTest) -> None:
    server_id = boot(site)
    path = f"/servers/{server_id}/action"
    assert call(site, "POST", path, {"lock": None}).status == 202
    assert call(site, "GET", f"/servers/{server_id}", v="2.9").json["server"]["locked"] is True
    assert call(site, "POST", path, {"unlock": None}).status == 202
    stopped = call(site, "POST", path, {"os-stop": None})
    assert (stopped.status, stopped.raw) == (202, b"")
    site.wait(status_is(site, server_id, "SHUTOFF"))
    shown = call(site, "GET", f"/servers/{server_id}").json["server"]
    assert (shown["OS-EXT-STS:vm_state"], shown["OS-EXT-STS:power_state"]) == ("stopped", 4)
    assert "progress" not in shown
    refused = call(site, "POST", path, {"reboot": {"type": "SOFT"}})
    message = f"Cannot 'reboot' instance {server_id} while it is in vm_state stopped"
    assert (refused.status, refused.json["conflictingRequest"]["message"]) == (409, message)
    assert call(site, "POST", path, {"os-start": None}).status == 202
    site.wait(status_is(site, server_id, "ACTIVE"))
    actions = call(site, "GET", f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert [action["action"] for action in actions][-1] == "create"


def test_metadata_tags_and_addresses(site: SiteUnderTest) -> None:
    path = f"/servers/{boot(site, metadata={'a': 'b'})}"
    assert call(site, "GET", f"{path}/metadata/a").json == {"meta": {"a": "b"}}
    assert call(site, "POST", f"{path}/metadata", {"metadata": {"c": "d"}}).json == {
        "metadata": {"a": "b", "c": "d"}
    }
    assert call(site, "PUT", f"{path}/metadata/a", {"meta": {"a": "z"}}).json == {"meta": {"a": "z"}}
    assert call(site, "PUT", f"{path}/metadata", {"metadata": {"c": "d"}}).json == {"metadata": {"c": "d"}}
    assert call(site, "DELETE", f"{path}/metadata/c").status == 204
    missing = call(site, "GET", f"{path}/metadata/nope")
    assert (missing.status, missing.json["itemNotFound"]["message"]) == (404, "Metadata item was not found")
    assert call(site, "GET", f"{path}/tags").status == 404
    assert call(site, "PUT", f"{path}/tags/foo", v="2.26").status == 201
    assert call(site, "GET", f"{path}/tags", v="2.26").json == {"tags": ["foo"]}
    assert call(site, "GET", f"{path}/tags/nope", v="2.26").status == 404
    addresses = call(site, "GET", f"{path}/ips").json["addresses"]
    assert set(addresses["private"][0]) == {"version", "addr"}
    assert call(site, "GET", f"{path}/ips/private").json == addresses
    unknown = call(site, "GET", f"{path}/ips/nope").json["itemNotFound"]["message"]
    assert unknown == "Instance is not a member of specified network"
    assert call(site, "GET", f"{path}/os-volume_attachments").json == {"volumeAttachments": []}
    assert call(site, "GET", f"{path}/nope").text.startswith("404 Not Found")


def test_update(site: SiteUnderTest) -> None:
    path = f"/servers/{boot(site)}"
    old = call(site, "PUT", path, {"server": {"name": "renamed"}}).json["server"]
    assert (old["name"], "OS-EXT-STS:vm_state" in old) == ("renamed", False)
    new = call(site, "PUT", path, {"server": {"description": "dd"}}, "2.96").json["server"]
    assert (new["description"], "OS-EXT-STS:vm_state" in new) == ("dd", True)


def test_several_at_once_and_deleted(site: SiteUnderTest) -> None:
    body = {
        "server": ingredients(site) | {"name": "contract-many", "min_count": 2, "return_reservation_id": True}
    }
    made = call(site, "POST", "/servers", body)
    assert (made.status, list(made.json)) == (202, ["reservation_id"])
    found = call(site, "GET", "/servers?name=contract-many").json["servers"]
    assert sorted(server["name"] for server in found) == ["contract-many-1", "contract-many-2"]
    for server in found:
        site.wait(status_is(site, server["id"], "ACTIVE"))
        answer = call(site, "DELETE", f"/servers/{server['id']}")
        assert (answer.status, answer.raw) == (204, b"")
        gone(site, server["id"])
    since = "changes-since=2020-01-01T00:00:00Z&name=contract-many"
    statuses = [server["status"] for server in call(site, "GET", f"/servers/detail?{since}").json["servers"]]
    assert statuses[:2] == ["DELETED", "DELETED"]
    assert call(site, "GET", "/servers?name=contract-many").json["servers"] == []


def test_external_events(site: SiteUnderTest) -> None:
    server_id = boot(site)
    event = {"name": "network-changed"}
    body = {"events": [event | {"server_uuid": server_id}, event | {"server_uuid": UNKNOWN}]}
    answer = call(site, "POST", "/os-server-external-events", body, user="admin")
    assert answer.status == 207
    assert [e["code"] for e in answer.json["events"]] == [200, 404]
    body["events"].pop()
    assert call(site, "POST", "/os-server-external-events", body, user="admin").status == 200
