"""Terraform's life on real sites: no difference after the apply, a destroy while the other site is down."""

from typing import Any

from tests.e2e.outages.conftest import ONE, TWO, Real, Start, until_back
from tests.scenarios.terraform import Terraform

from atoll.sandbox.real.model import PASSWORD
from atoll.sandbox.real.seed import image_id


async def test_create_refresh_and_destroy_with_the_other_site_down(
    start: Start, real: Real, name: str
) -> None:
    terraform = Terraform(TWO, image=image_id("cirros"), password=PASSWORD, name=name)
    atoll = await start()
    async with atoll.client() as terraform.client:
        await terraform.login()
        await terraform.apply()
        state = terraform.state
        assert state["instance"]["OS-EXT-AZ:availability_zone"] == TWO, "as it was asked for: no difference"
        assert state["volume"]["availability_zone"] == TWO
        assert state["network"]["availability_zone_hints"] == [TWO]
        assert await left(real, name) == {ONE: ["/os-keypairs"], TWO: ALL}
        assert await terraform.refresh() == state

        real.refuse(ONE)
        assert await terraform.refresh() == state, "nor with a site down that it does not use"
        (failed,) = await terraform.destroy()
        assert f"os-keypairs/{name}: 503" in failed
        assert ONE in failed
        assert await left(real, name) == {ONE: ["/os-keypairs"], TWO: []}

        await real.accept(ONE)
        await until_back(terraform.client)
        assert await terraform.destroy() == []
    assert await left(real, name) == {ONE: [], TWO: []}


ALL = ["/os-keypairs", "/servers", "/v2.0/networks", "/v2.0/ports", "/v2.0/subnets", "/volumes"]


async def left(real: Real, name: str) -> dict[str, list[Any]]:
    """The kinds of things of a name, by site."""
    return {
        site: sorted({path.rpartition("/")[0] for _, _, path in one.paths(name)})
        for site, one in real.sites.items()
    }
