"""What a transaction made is found again, however long the list is and however it is cut."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from atoll.gateway.transaction_kinds import KINDS, MARK
from atoll.workflow.outcomes import Unavailable


class Listed:
    """A list of servers, given so many at once."""

    def __init__(self, servers: list[dict[str, Any]], most: int) -> None:
        self.servers, self.most, self.asked = servers, most, 0

    async def ask(self, method: str, target: str) -> tuple[int, Any]:
        assert method == "GET"
        self.asked += 1
        after = parse_qs(urlsplit(target).query).get("marker", [""])[0]
        ids = [one["id"] for one in self.servers]
        start = ids.index(after) + 1 if after else 0
        page: dict[str, Any] = {"servers": self.servers[start : start + self.most]}
        if start + self.most < len(ids):
            page["servers_links"] = [{"rel": "next", "href": "…"}]
        return 200, page


def server(number: int, mark: str = "") -> dict[str, Any]:
    return {"id": str(number), "name": "a", "metadata": {MARK: mark} if mark else {}}


@pytest.mark.parametrize("most", [1, 2, 7, 1000])
async def test_all_pages_are_looked_through_however_small_they_are(most):
    listed = Listed([*(server(number) for number in range(6)), server(6, "run")], most)
    assert [one["id"] for one in await KINDS["server"].find(listed.ask, {"name": "a"}, "run")] == ["6"]
    assert listed.asked == -(-7 // most)


async def test_one_that_is_shown_twice_is_one():
    """As a server is that is put in its cell between two pages."""
    listed = Listed([server(0, "run"), server(1), server(2)], 2)

    async def ask(method: str, target: str) -> tuple[int, Any]:
        status, page = await listed.ask(method, target)
        return status, {**page, "servers": [server(0, "run"), *page["servers"]]}

    assert [one["id"] for one in await KINDS["server"].find(ask, {"name": "a"}, "run")] == ["0"]


async def test_a_list_that_does_not_get_on_is_asked_for_another_time():
    async def ask(*_: str) -> tuple[int, Any]:
        return 200, {"servers": [server(0)], "servers_links": [{"rel": "next", "href": "…"}]}

    with pytest.raises(Unavailable, match="does not get on"):
        await KINDS["server"].find(ask, {"name": "a"}, "run")
