"""Compute beside servers: flavors, keypairs, server groups, zones, limits, quotas, hosts, old proxies."""

from typing import Any

import pytest
from tests.contract.conftest import UNKNOWN, Answer, SiteUnderTest
from tests.contract.test_servers import boot, call, ingredients

KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDx8nkQv/zgGgB4rMYmIf+6A4l6Rr+o/6lHBQdW5aYd44bd8JttDCE/F/pNRr0lRE+PiqSPO8nDPHw0010JeMH9gYgnnFlyY3/OcJ02RhIPyyxYpv9FhY+2YiUkpwFOcLImyrxEsYXpD/0d3ac30bNH6Sw9JD9UZHYcpSxsIbECHw== contract"  # noqa: E501


def fault(answer: Answer) -> tuple[int, str]:
    """The status and message of a fault."""
    return answer.status, next(iter(answer.json.values()))["message"]


def test_flavors(site: SiteUnderTest) -> None:
    page = call(site, "GET", "/flavors?limit=1").json
    assert [flavor["id"] for flavor in page["flavors"]] == ["1"]
    assert page["flavors_links"] == [
        {"rel": "next", "href": f"{site.root('compute')}/v2.1/flavors?limit=1&marker=1"}
    ]
    detail = call(site, "GET", "/flavors/detail").json["flavors"][0]
    assert list(detail) == [
        "id", "name", "ram", "disk", "swap", "OS-FLV-EXT-DATA:ephemeral", "OS-FLV-DISABLED:disabled", "vcpus",
        "os-flavor-access:is_public", "rxtx_factor", "links",
    ]  # fmt: skip
    assert detail["swap"] == ""
    later = call(site, "GET", "/flavors/detail", v="2.96").json["flavors"][0]
    assert list(later)[-2:] == ["description", "extra_specs"]
    assert later["swap"] == 0
    assert fault(call(site, "GET", "/flavors/nope")) == (404, "Flavor nope could not be found.")
    assert fault(call(site, "GET", "/flavors?marker=nope")) == (400, "marker [nope] not found")
    assert fault(call(site, "GET", "/flavors?minRam=abc")) == (400, "Invalid minRam filter [abc]")
    assert call(site, "GET", "/flavors/42/os-extra_specs").json == {"extra_specs": {}}
    message = "Flavor 42 has no extra specs with key nope."
    assert fault(call(site, "GET", "/flavors/42/os-extra_specs/nope")) == (404, message)
    names = call(site, "GET", "/flavors?sort_key=name&sort_dir=desc").json["flavors"]
    assert [f["name"] for f in names] == sorted((f["name"] for f in names), reverse=True)


def test_flavor_create_and_delete(site: SiteUnderTest) -> None:
    body = {"flavor": {"name": "contract", "ram": 64, "vcpus": 1, "disk": 0, "id": "contract-1"}}
    rule = "Policy doesn't allow os_compute_api:os-flavor-manage:create to be performed."
    assert fault(call(site, "POST", "/flavors", body)) == (403, rule)
    made = call(site, "POST", "/flavors", body, user="admin")
    site.undo.append(lambda: call(site, "DELETE", "/flavors/contract-1", user="admin"))
    assert (made.status, made.json["flavor"]["id"]) == (200, "contract-1")
    assert fault(call(site, "POST", "/flavors", body, user="admin"))[0] == 409
    specs = {"extra_specs": {"a": "b"}}
    assert call(site, "POST", "/flavors/contract-1/os-extra_specs", specs, user="admin").json == specs
    assert call(site, "GET", "/flavors/contract-1", v="2.61").json["flavor"]["extra_specs"] == {"a": "b"}
    body["flavor"] |= {"name": "m1.nano", "id": "contract-2"}
    message = "Flavor with name m1.nano already exists."
    assert fault(call(site, "POST", "/flavors", body, user="admin")) == (409, message)


def test_keypairs(site: SiteUnderTest) -> None:
    made = call(site, "POST", "/os-keypairs", {"keypair": {"name": "contract", "public_key": KEY}})
    site.undo.append(lambda: call(site, "DELETE", "/os-keypairs/contract"))
    assert made.status == 200
    assert set(made.json["keypair"]) == {"name", "public_key", "fingerprint", "user_id"}
    later = call(site, "POST", "/os-keypairs", {"keypair": {"name": "contract2", "public_key": KEY}}, "2.2")
    site.undo.append(lambda: call(site, "DELETE", "/os-keypairs/contract2"))
    assert (later.status, later.json["keypair"]["type"]) == (201, "ssh")
    assert later.json["keypair"]["fingerprint"] == made.json["keypair"]["fingerprint"]
    again = call(site, "POST", "/os-keypairs", {"keypair": {"name": "contract", "public_key": KEY}})
    assert fault(again) == (409, "Key pair 'contract' already exists.")
    listed = call(site, "GET", "/os-keypairs").json["keypairs"]
    assert {"name", "public_key", "fingerprint"} == set(listed[0]["keypair"])
    page = call(site, "GET", "/os-keypairs?limit=1", v="2.35").json
    link = f"{site.root('compute')}/v2.1/os-keypairs?limit=1&marker=contract"
    assert page["keypairs_links"] == [{"rel": "next", "href": link}]
    shown = call(site, "GET", "/os-keypairs/contract").json["keypair"]
    assert set(shown) == {
        "name", "public_key", "fingerprint", "user_id", "created_at", "deleted", "deleted_at", "id",
        "updated_at",
    }  # fmt: skip
    user_id = site.demo.user_id
    assert fault(call(site, "GET", "/os-keypairs/nope")) == (
        404,
        f"Keypair nope not found for user {user_id}",
    )
    bad = call(site, "POST", "/os-keypairs", {"keypair": {"name": "x", "public_key": "bad"}})
    assert fault(bad) == (400, "Keypair data is invalid: failed to generate fingerprint")
    needed = call(site, "POST", "/os-keypairs", {"keypair": {"name": "x"}}, "2.92")
    assert fault(needed)[1].endswith("'public_key' is a required property")
    generated = call(site, "POST", "/os-keypairs", {"keypair": {"name": "contract3"}})
    assert "BEGIN RSA PRIVATE KEY" in generated.json["keypair"]["private_key"]
    assert call(site, "DELETE", "/os-keypairs/contract3").status == 202
    assert call(site, "DELETE", "/os-keypairs/contract3", v="2.2").status == 404


def test_server_groups(site: SiteUnderTest) -> None:
    made = call(
        site, "POST", "/os-server-groups", {"server_group": {"name": "g", "policy": "affinity"}}, "2.64"
    )
    assert made.status == 200
    group = made.json["server_group"]
    site.undo.append(lambda: call(site, "DELETE", f"/os-server-groups/{group['id']}"))
    assert list(group) == ["id", "name", "policy", "rules", "members", "project_id", "user_id"]
    old = call(site, "GET", f"/os-server-groups/{group['id']}").json["server_group"]
    assert old == {"id": group["id"], "name": "g", "policies": ["affinity"], "metadata": {}, "members": []}
    message = f"Instance group {UNKNOWN} could not be found."
    assert fault(call(site, "GET", f"/os-server-groups/{UNKNOWN}")) == (404, message)


def test_zones(site: SiteUnderTest) -> None:
    zones = call(site, "GET", "/os-availability-zone").json
    zone = {"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}
    assert zones == {"availabilityZoneInfo": [zone]}
    rule = "Policy doesn't allow os_compute_api:os-availability-zone:detail to be performed."
    assert fault(call(site, "GET", "/os-availability-zone/detail")) == (403, rule)
    detail = call(site, "GET", "/os-availability-zone/detail", user="admin").json["availabilityZoneInfo"]
    assert [entry["zoneName"] for entry in detail] == ["internal", "nova"]


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/os-hypervisors", "os-hypervisors:list"),
        ("/os-hypervisors/detail", "os-hypervisors:list-detail"),
        ("/os-services", "os-services:list"),
        ("/os-aggregates", "os-aggregates:index"),
        ("/os-migrations", "os-migrations:index"),
        ("/os-simple-tenant-usage", "os-simple-tenant-usage:list"),
    ],
)
def test_admin_lists(site: SiteUnderTest, path: str, rule: str) -> None:
    message = f"Policy doesn't allow os_compute_api:{rule} to be performed."
    assert fault(call(site, "GET", path)) == (403, message)
    assert call(site, "GET", path, user="admin").status == 200


@pytest.mark.parametrize("number", ["2.1", "2.53", "2.96"])
def test_hosts_by_microversion(site: SiteUnderTest, number: str) -> None:
    hypervisor = call(site, "GET", "/os-hypervisors/detail", v=number, user="admin").json["hypervisors"][0]
    expected = {
        "id",
        "hypervisor_hostname",
        "state",
        "status",
        "hypervisor_type",
        "hypervisor_version",
        "host_ip",
        "service",
    }
    if number == "2.96":
        expected |= {"uptime"}
    else:
        expected |= {
            "vcpus", "memory_mb", "local_gb", "vcpus_used", "memory_mb_used", "local_gb_used", "free_ram_mb",
            "free_disk_gb", "current_workload", "running_vms", "disk_available_least", "cpu_info",
        }  # fmt: skip
    assert set(hypervisor) == expected
    assert isinstance(hypervisor["id"], int if number == "2.1" else str)
    service = call(site, "GET", "/os-services", v=number, user="admin").json["services"][0]
    assert isinstance(service["id"], int if number == "2.1" else str)


def test_limits_and_quotas(site: SiteUnderTest) -> None:
    old = call(site, "GET", "/limits").json["limits"]
    new = call(site, "GET", "/limits", v="2.96").json["limits"]["absolute"]
    assert (len(old["absolute"]), len(new), old["rate"]) == (19, 11, [])
    project = site.demo.project_id
    quota = call(site, "GET", f"/os-quota-sets/{project}").json["quota_set"]
    assert (len(quota), quota["id"]) == (15, project)
    assert len(call(site, "GET", f"/os-quota-sets/{project}", v="2.96").json["quota_set"]) == 8
    detail = call(site, "GET", f"/os-quota-sets/{project}/detail").json["quota_set"]
    assert set(detail["cores"]) == {"limit", "in_use", "reserved"}
    assert call(site, "GET", f"/os-quota-sets/{project}/defaults").json["quota_set"]["id"] == project
    changed = call(site, "PUT", f"/os-quota-sets/{project}", {"quota_set": {"cores": 7}}, user="admin")
    site.undo.append(lambda: call(site, "DELETE", f"/os-quota-sets/{project}", user="admin"))
    assert (changed.status, changed.json["quota_set"]["cores"]) == (200, 7)
    assert call(site, "GET", "/limits").json["limits"]["absolute"]["maxTotalCores"] == 7
    assert fault(call(site, "PUT", f"/os-quota-sets/{project}", {"quota_set": {"cores": 7}}))[0] == 403


@pytest.mark.parametrize("path", ["/images", "/os-security-groups", "/os-networks", "/os-floating-ips"])
def test_proxies_end_at_2_36(site: SiteUnderTest, path: str) -> None:
    assert call(site, "GET", path, v="2.35").status == 200
    assert fault(call(site, "GET", path, v="2.36")) == (404, "The resource could not be found.")


def test_floating_ips_of_nova(site: SiteUnderTest) -> None:
    server = boot(site)
    pools = call(site, "GET", "/os-floating-ip-pools").json
    assert {"name": "public"} in pools["floating_ip_pools"]
    made = call(site, "POST", "/os-floating-ips", {"pool": "public"})
    assert made.status == 200, made.text
    floating = made.json["floating_ip"]
    path = f"/os-floating-ips/{floating['id']}"
    site.undo.append(lambda: call(site, "DELETE", path))
    assert set(floating) == {"fixed_ip", "id", "instance_id", "ip", "pool"}
    assert (floating["fixed_ip"], floating["instance_id"], floating["pool"]) == (None, None, "public")
    assert call(site, "GET", path).json == {"floating_ip": floating}
    assert floating in call(site, "GET", "/os-floating-ips").json["floating_ips"]
    action, address = f"/servers/{server}/action", {"address": floating["ip"]}
    assert call(site, "POST", action, {"addFloatingIp": address}, v="2.44").status == 404
    added = call(site, "POST", action, {"addFloatingIp": address})
    assert (added.status, added.text) == (202, "")
    now = call(site, "GET", path).json["floating_ip"]
    assert (now["instance_id"], now["fixed_ip"] is None) == (server, False)
    assert call(site, "POST", action, {"removeFloatingIp": address}).status == 202
    rule = "Policy doesn't allow os_compute_api:os-floating-ips:remove to be performed."
    assert fault(call(site, "POST", action, {"removeFloatingIp": address})) == (403, rule)
    assert call(site, "DELETE", path).status == 202
    assert fault(call(site, "GET", path)) == (404, f"Floating IP not found for ID {floating['id']}")
    assert fault(call(site, "DELETE", path)) == (404, f"Floating IP not found for ID {floating['id']}")
    assert fault(call(site, "POST", action, {"addFloatingIp": address})) == (404, "floating IP not found")
    message = f"Floating IP not found for address {floating['ip']}."
    assert fault(call(site, "POST", action, {"removeFloatingIp": address})) == (404, message)
    for body in ({}, {"pool": "nope"}, {"pool": UNKNOWN}):
        refused = fault(call(site, "POST", "/os-floating-ips", body))
        assert refused == (404, "Floating IP pool not found."), body
    assert fault(call(site, "GET", "/os-floating-ips/nope")) == (404, "Floating IP not found for ID nope")


def test_a_quota_below_what_is_used(site: SiteUnderTest) -> None:
    path = f"/os-quota-sets/{site.demo.project_id}"
    site.undo.append(lambda: call(site, "DELETE", path, user="admin"))
    boot(site)
    status, message = fault(call(site, "PUT", path, {"quota_set": {"instances": 0}}, user="admin"))
    assert status == 400
    assert message.startswith(
        "Quota limit 0 for instances must be greater than or equal to already used and reserved "
    )
    forced = {"quota_set": {"instances": 0, "force": True}}
    assert call(site, "PUT", path, forced, user="admin").json["quota_set"]["instances"] == 0
    detail = call(site, "GET", f"{path}/detail").json["quota_set"]["instances"]
    assert (detail["limit"], detail["in_use"] > 0) == (0, True)


def test_quota_refuses_a_server(site: SiteUnderTest) -> None:
    path = f"/os-quota-sets/{site.demo.project_id}"
    call(site, "PUT", path, {"quota_set": {"instances": 0}}, user="admin")
    site.undo.append(lambda: call(site, "DELETE", path, user="admin"))
    body: dict[str, Any] = {"server": ingredients(site)}
    status, message = fault(call(site, "POST", "/servers", body))
    assert status == 403
    assert message == "Quota exceeded for instances: Requested 1, but already used 0 of 0 instances"
