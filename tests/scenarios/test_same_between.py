"""Things that become one, or are no longer, while a list of them is read: each is shown once."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.scenarios.conftest import Client
from tests.scenarios.test_lists_between import after
from tests.scenarios.test_same import FLAVORS, IMAGES, NETWORKS
from tests.scenarios.test_same_declared import SAME, atoll, cloud, declared, private

from atoll.sandbox.simulated import Cloud

__all__ = ["after", "atoll", "cloud", "private"]  # fixtures
After = Callable[[int, Callable[[], Awaitable[Any]]], None]


async def shown(user: Client, path: str) -> list[str]:
    """The ids in a list."""
    answer = await user.get(path)
    assert answer.status_code == 200, answer.text
    (things,) = (value for value in answer.json().values() if isinstance(value, list) and "id" in value[0])
    return [one["id"] for one in things]


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("query", ["", "&limit=2", "&sort_key=name&sort_dir=asc"])
async def test_networks_become_one(
    user: Client, private: dict[str, str], after: After, number: int, query: str
) -> None:
    before = await shown(user, f"{NETWORKS}?name=private{query}")
    after(number, lambda: declared(user, private))
    assert await shown(user, f"{NETWORKS}?name=private{query}") == before
    assert len(await shown(user, f"{NETWORKS}?name=private{query}")) == 1


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("query", ["", "&limit=2", "&sort_key=name&sort_dir=asc"])
async def test_networks_are_no_longer_one(
    user: Client, private: dict[str, str], after: After, number: int, query: str
) -> None:
    one = await declared(user, private)
    after(number, lambda: user.delete(f"{SAME}/network/{one}"))
    assert await shown(user, f"{NETWORKS}?name=private{query}") == [one]
    assert len(await shown(user, f"{NETWORKS}?name=private{query}")) > 1


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(("resource", "path"), [("flavor", FLAVORS), ("image", IMAGES)])
async def test_flavors_and_images_become_one(
    user: Client, admin: Client, cloud: Cloud, after: After, number: int, resource: str, path: str
) -> None:
    for _ in range(2):  # the second list is by what the first has compared
        before = await shown(user, path)
    two: dict[str, str] = {}
    for site in cloud.sites[:2]:
        answer = await user.get(f"{site.url}{path}", headers={"X-Auth-Token": user.token})
        own = answer.json()[f"{resource}s"]
        two[site.name] = next(
            one["id"] for one in own if one["id"] in before and one["id"] not in two.values()
        )
    assert len(set(two.values())) == 2
    body = {"resource": resource, "name": "joined", "ids": two}
    after(number, lambda: admin.post(SAME, json=body))
    found = await shown(user, path)
    assert sorted(found) in [sorted(before), sorted({*before} - {[*two.values()][1]})]
    assert len(await shown(user, path)) == len(before) - 1
