"""What is one thing at every site is made at all of them or at none, and is the same everywhere."""

from tests.scenarios.conftest import SERVERS, Client, created_anywhere, writes

from atoll.sandbox.simulated import Cloud, Fault


async def test_a_flavor_is_made_at_every_site_or_at_none(admin: Client, cloud: Cloud) -> None:
    body = {"flavor": {"name": "m1.odd", "ram": 64, "vcpus": 1, "disk": 1, "id": "odd"}}
    made = await admin.post("/compute/v2.1/flavors", json=body)
    assert made.status_code == 200
    assert all("odd" in site.compute.flavors for site in cloud.sites)
    body["flavor"] |= {"id": "odd2", "name": "m1.odd2"}
    cloud.site("site3").faults.add(Fault("status", status=403, service="compute", method="POST", count=1))
    refused = await admin.post("/compute/v2.1/flavors", json=body)
    assert refused.status_code == 403
    assert [site.name for site in cloud.sites if "odd2" in site.compute.flavors] == []


async def test_a_flavor_that_one_site_has_already_is_made_nowhere(admin: Client, cloud: Cloud) -> None:
    fields = {"name": "m1.there", "ram": 64, "vcpus": 1, "disk": 1, "id": "there"}
    cloud.site("site2").compute.flavor_api.seed("there", "m1.there", 64, 1)
    answer = await admin.post("/compute/v2.1/flavors", json={"flavor": fields})
    assert answer.status_code == 409
    assert [site.name for site in cloud.sites if "there" in site.compute.flavors] == ["site2"], (
        "what was there before is not undone"
    )


async def test_a_keypair_is_undone_when_a_site_breaks_off(user: Client, cloud: Cloud) -> None:
    cloud.site("site2").faults.add(Fault("reset", service="compute", method="POST", count=1))
    answer = await user.post("/compute/v2.1/os-keypairs", json={"keypair": {"name": "k"}})
    assert answer.status_code in {503, 504}
    assert "site2" in answer.text
    assert [site.name for site in cloud.sites if site.compute.keypairs] == []


async def test_a_keypair_made_where_the_answer_was_lost_is_undone_too(user: Client, cloud: Cloud) -> None:
    """The site did it and died before it said so: nothing half-done is left behind."""
    cloud.site("site2").faults.add(Fault("die_after_commit", service="compute", method="POST", count=1))
    answer = await user.post("/compute/v2.1/os-keypairs", json={"keypair": {"name": "k"}})
    assert answer.status_code in {503, 504}
    assert [site.name for site in cloud.sites if site.compute.keypairs] == []


async def test_nothing_shared_is_made_while_a_site_is_away(user: Client, admin: Client, cloud: Cloud) -> None:
    cloud.site("site3").refuse()
    for _ in range(4):
        await user.get(SERVERS)
    for client, path, body in (
        (user, "os-keypairs", {"keypair": {"name": "k"}}),
        (admin, "flavors", {"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 1}}),
    ):
        answer = await client.post(f"/compute/v2.1/{path}", json=body)
        assert answer.status_code == 503
        assert "site3" in answer.text
    assert writes(cloud) == []
    assert created_anywhere(cloud) == {"site1": 0, "site2": 0, "site3": 0}


async def test_a_generated_key_is_the_same_at_every_site(user: Client, cloud: Cloud) -> None:
    answer = await user.post("/compute/v2.1/os-keypairs", json={"keypair": {"name": "k"}})
    assert answer.status_code in {200, 201}
    assert "private_key" in answer.json()["keypair"]
    prints = {key["fingerprint"] for site in cloud.sites for key in site.compute.keypairs.values()}
    assert len(prints) == 1
    assert [len(site.compute.keypairs) for site in cloud.sites] == [1, 1, 1]
