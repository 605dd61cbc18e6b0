"""Sites of several releases: what Neutron can do at all of them."""

import pytest
from tests.scenarios.conftest import Client

EXTENSIONS = "/network/v2.0/extensions"


def aliases(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["alias"] for one in answer.json()["extensions"]]


@pytest.fixture
def older(cloud) -> str:
    """An extension that the last site has not got yet; another one is the last site's alone."""
    extensions = cloud.site("site3").network.extras.extensions
    lacks = str(extensions[len(extensions) // 2])
    extensions.remove(lacks)
    extensions.append("port-hardware-offload-type")
    return lacks


async def test_an_extension_that_a_site_lacks_is_not_the_clouds(user: Client, cloud, older):
    before = list(cloud.site("site1").network.extras.extensions)
    assert aliases(await user.get(EXTENSIONS)) == [one for one in before if one != older]
    refused = await user.get(f"{EXTENSIONS}/{older}")
    assert refused.status_code == 404
    assert older in refused.text
    assert (await user.get(f"{EXTENSIONS}/port-hardware-offload-type")).status_code == 404
    assert (await user.get(f"{EXTENSIONS}/{before[0]}")).json()["extension"]["alias"] == before[0]


async def test_sites_that_are_alike_answer_as_one(user: Client, cloud):
    answer = await user.get(EXTENSIONS)
    assert aliases(answer) == cloud.site("site1").network.extras.extensions


async def test_a_site_that_is_away_is_named(user: Client, cloud, older):
    cloud.site("site3").refuse()
    answer = await user.get(EXTENSIONS)
    assert older in aliases(answer)
    assert "site3" in answer.headers["x-atoll-missing-sites"]
