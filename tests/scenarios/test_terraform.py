"""Terraform's life: create, refresh without a difference, destroy while a site that is not used is down."""

from tests.running import Atoll
from tests.scenarios.conftest import created_anywhere
from tests.scenarios.terraform import Terraform

from atoll.sandbox.simulated import Cloud


def terraform_of(cloud: Cloud) -> Terraform:
    """All of it at site2."""
    return Terraform("site2", image=cloud.sites[0].image_id("cirros"), password=cloud.password)


async def test_create_refresh_and_destroy_with_another_site_down(atoll: Atoll, cloud: Cloud) -> None:
    terraform = terraform_of(cloud)
    async with atoll.client() as terraform.client:
        await terraform.login()
        await terraform.apply()
        assert created_anywhere(cloud) == {"site1": 0, "site2": 1, "site3": 0}
        instance = terraform.state["instance"]
        assert instance["OS-EXT-AZ:availability_zone"] == "site2", "as it was asked for: no difference"
        assert terraform.state["volume"]["availability_zone"] == "site2"
        assert terraform.state["network"]["availability_zone_hints"] == ["site2"]
        assert await terraform.refresh() == terraform.state

        cloud.site("site3").refuse()
        assert await terraform.refresh() == terraform.state, "nor with a site down that it does not use"
        (failed,) = await terraform.destroy()
        # The keypair is at every site: it says where it still is.
        assert "os-keypairs/tf: 503" in failed
        assert "site3" in failed
        assert set(created_anywhere(cloud).values()) == {0}
        site = cloud.site("site2")
        assert site.block_storage.volumes == {}
        assert "tf" not in {one["name"] for one in site.network.records.of("networks").values()}
        assert [one.name for one in cloud.sites if one.compute.keypairs] == ["site3"]

        await cloud.site("site3").start()
        for _ in range(200):  # until the site is known to be back
            if not (failing := await terraform.destroy()):
                break
            terraform.ids = {"keypair": "tf"}
        assert failing == []
        assert [one.name for one in cloud.sites if one.compute.keypairs] == []


async def test_a_refresh_while_its_own_site_is_down_does_not_say_that_it_is_gone(
    atoll: Atoll, cloud: Cloud
) -> None:
    """A 404 would make Terraform forget all of it, and create it anew."""
    terraform = terraform_of(cloud)
    async with atoll.client() as terraform.client:
        await terraform.login()
        await terraform.apply()
        cloud.site("site2").refuse()
        for service, path in (
            ("compute", f"servers/{terraform.ids['instance']}"),
            ("block-storage", f"volumes/{terraform.ids['volume']}"),
            ("network", f"networks/{terraform.ids['network']}"),
            ("network", f"ports?id={terraform.ids['port']}"),
        ):
            answer = await terraform.client.get(f"{terraform.endpoints[service]}/{path}")
            assert answer.status_code == 503, path
            assert "site2" in answer.text
