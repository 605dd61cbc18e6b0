"""Block storage beside volumes: transfers, what a server makes and takes with it, hosts, default types."""

from typing import Any

import pytest
from tests.contract.conftest import UNKNOWN, SiteUnderTest
from tests.contract.test_servers import call as compute
from tests.contract.test_volumes import call, fault, make

NEWEST = "3.70"


@pytest.mark.parametrize(("path", "other"), [("os-volume-transfer", "volume-transfers"),
                                             ("volume-transfers", "os-volume-transfer")])  # fmt: skip
def test_a_transfer_is_one_under_both_its_paths(site: SiteUnderTest, path: str, other: str) -> None:
    volume = make(site)
    offer = {"transfer": {"volume_id": volume["id"], "name": "t"}}
    made = call(site, "POST", f"/{path}", offer, NEWEST)
    assert made.status == 202, made.text
    transfer: dict[str, Any] = made.json["transfer"]
    assert {"id", "volume_id", "name", "created_at", "auth_key", "links"} <= set(transfer)
    shown = call(site, "GET", f"/{other}/{transfer['id']}", v=NEWEST)
    assert (shown.status, "auth_key" in shown.json["transfer"]) == (200, False)
    listed = call(site, "GET", f"/{other}", v=NEWEST).json["transfers"]
    assert transfer["id"] in [one["id"] for one in listed]
    accept = {"accept": {"auth_key": "wrong"}}
    refused = call(site, "POST", f"/{other}/{transfer['id']}/accept", accept, NEWEST)
    why = f"Invalid auth key: Attempt to transfer {transfer['id']} with invalid auth key."
    assert fault(refused) == (400, why)
    accept["accept"]["auth_key"] = transfer["auth_key"]
    accepted = call(site, "POST", f"/{other}/{transfer['id']}/accept", accept, NEWEST)
    assert (accepted.status, accepted.json["transfer"]["volume_id"]) == (202, volume["id"])
    again = call(site, "POST", f"/{path}/{transfer['id']}/accept", accept, NEWEST)
    assert fault(again) == (404, f"Transfer {transfer['id']} could not be found.")


def test_a_transfer_of_nothing(site: SiteUnderTest) -> None:
    answer = call(site, "GET", f"/os-volume-transfer/{UNKNOWN}")
    assert fault(answer) == (404, f"Transfer {UNKNOWN} could not be found.")


def test_a_volume_made_for_a_server_ends_with_it(site: SiteUnderTest) -> None:
    images = site.call("GET", "image", "/v2/images?name=cirros").json["images"]
    device = {
        "uuid": images[0]["id"], "source_type": "image", "destination_type": "volume", "boot_index": 0,
        "volume_size": 1, "delete_on_termination": True,
    }  # fmt: skip
    server = {"name": "contract", "flavorRef": "42", "networks": "none", "block_device_mapping_v2": [device]}
    made = compute(site, "POST", "/servers", {"server": server}, "2.37")
    assert made.status == 202, made.text
    path = f"/servers/{made.json['server']['id']}"
    site.undo.append(lambda: compute(site, "DELETE", path))
    site.wait(lambda: compute(site, "GET", path).json["server"]["status"] == "ACTIVE")
    assert compute(site, "GET", path).json["server"]["image"] == ""
    (attached,) = compute(site, "GET", f"{path}/os-volume_attachments", v="2.79").json["volumeAttachments"]
    assert attached["delete_on_termination"] is True
    volume = f"/volumes/{attached['volumeId']}"
    assert call(site, "GET", volume).json["volume"]["status"] == "in-use"
    assert compute(site, "DELETE", path).status == 204
    site.wait(lambda: call(site, "GET", volume).status == 404)


def test_what_could_be_managed_is_asked_of_a_host(site: SiteUnderTest) -> None:
    services = call(site, "GET", "/os-services?binary=cinder-volume", v=NEWEST, user="admin").json["services"]
    host = services[0]["host"]
    for path in ("/manageable_volumes", "/manageable_volumes/detail"):
        answer = call(site, "GET", f"{path}?host={host}%23fake", v=NEWEST, user="admin")
        assert (answer.status, list(answer.json)) == (200, ["manageable-volumes"])
    nobody = call(site, "GET", "/manageable_volumes?host=nobody", v=NEWEST, user="admin")
    assert fault(nobody) == (404, "Service cinder-volume could not be found on host nobody.")
    shown = call(site, "GET", f"/os-hosts/{host}", user="admin").json["host"]
    assert (shown[0]["resource"]["host"], shown[0]["resource"]["project"]) == (host, "(total)")
    frozen = call(site, "PUT", "/os-services/freeze", {"host": "nobody"}, NEWEST, user="admin")
    assert fault(frozen) == (400, "No service found with host=nobody")


def test_log_levels_of_services(site: SiteUnderTest) -> None:
    shown = call(site, "PUT", "/os-services/get-log", {}, NEWEST, user="admin")
    assert shown.status == 200
    assert {"host", "binary", "levels"} <= set(shown.json["log_levels"][0])


def test_the_default_type_of_a_project(site: SiteUnderTest) -> None:
    project = site.admin.project_id
    path, body = f"/default-types/{project}", {"default_type": {"volume_type": "fake"}}
    site.undo.append(lambda: call(site, "DELETE", path, v=NEWEST, user="admin"))
    none = call(site, "GET", path, v=NEWEST, user="admin")
    assert fault(none) == (404, f"Default type for project {project} not found.")
    kinds = call(site, "GET", "/types", v=NEWEST).json["volume_types"]
    ident = next(one["id"] for one in kinds if one["name"] == "fake")
    made = call(site, "PUT", path, body, NEWEST, user="admin")
    shown = {"project_id": project, "volume_type_id": ident}
    assert (made.status, made.json) == (200, {"default_type": shown})
    assert call(site, "GET", path, v=NEWEST, user="admin").json == {"default_type": shown}
    every = call(site, "GET", "/default-types", v=NEWEST, user="admin").json["default_types"]
    assert shown in every
    gone = call(site, "DELETE", path, v=NEWEST, user="admin")
    assert (gone.status, gone.raw) == (204, b"")
