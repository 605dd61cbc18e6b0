"""Quality of service and encryption of volume types over sites: changed at all sites or at none."""

from typing import Any

import pytest
from tests.scenarios.conftest import Client

from atoll.sandbox.simulated import Cloud, Fault

VOLUME = "/block-storage/v3"
SPECS = f"{VOLUME}/qos-specs"


@pytest.fixture
async def fast(admin: Client) -> str:
    """The path of specs that every site has under an id of its own."""
    body = {"qos_specs": {"name": "fast", "consumer": "front-end", "iops": "100", "old": "1"}}
    answer = await admin.post(SPECS, json=body)
    assert answer.status_code == 200, answer.text
    return f"{SPECS}/{answer.json()['qos_specs']['id']}"


@pytest.fixture
async def fake(admin: Client) -> str:
    """The id that a client has of the type `fake`."""
    types = (await admin.get(f"{VOLUME}/types")).json()["volume_types"]
    return str(next(one["id"] for one in types if one["name"] == "fake"))


def at(cloud: Cloud) -> list[Any]:
    """What each site has: specs by name, the names of the types that have them, and encryption by type."""
    found = []
    for site in cloud.sites:
        rest, types = site.block_storage.rest, site.block_storage.types
        specs = {one["name"]: (one["consumer"], dict(one["specs"])) for one in rest.qos.values()}
        used = {types[kind]["name"]: rest.qos[one]["name"] for kind, one in rest.associated.items()}
        keys = ("provider", "cipher", "key_size", "control_location")
        encrypted = {types[kind]["name"]: [one[key] for key in keys] for kind, one in rest.encryption.items()}
        found.append((specs, used, encrypted))
    return found


async def test_specs_are_one_by_name(admin: Client, user: Client, cloud: Cloud, fast: str) -> None:
    assert at(cloud) == [({"fast": ("front-end", {"iops": "100", "old": "1"})}, {}, {})] * 3
    listed = (await admin.get(SPECS)).json()["qos_specs"]
    assert [one["name"] for one in listed] == ["fast"]
    theirs = next(iter(cloud.site("site3").block_storage.rest.qos))
    assert (await admin.get(f"{SPECS}/{theirs}")).json()["qos_specs"]["name"] == "fast"
    assert (await user.get(SPECS)).status_code == 403
    assert (await admin.delete(fast)).status_code == 202
    assert at(cloud) == [({}, {}, {})] * 3


async def test_a_type_has_them_at_every_site(admin: Client, cloud: Cloud, fast: str, fake: str) -> None:
    answer = await admin.get(f"{fast}/associate?vol_type_id={fake}")
    assert answer.status_code == 202, answer.text
    assert [used for _, used, _ in at(cloud)] == [{"fake": "fast"}] * 3
    shown = (await admin.get(f"{fast}/associations")).json()["qos_associations"]
    assert [(one["id"], one["name"]) for one in shown] == [(fake, "fake")]
    in_use = await admin.delete(fast)
    assert (in_use.status_code, "still in use" in in_use.text) == (400, True)
    assert (await admin.get(f"{fast}/disassociate?vol_type_id={fake}")).status_code == 202
    assert [used for _, used, _ in at(cloud)] == [{}] * 3
    nothing = await admin.get(f"{fast}/associate")
    assert (nothing.status_code, "must not be None" in nothing.text) == (400, True)


CHANGES: dict[str, tuple[str, str, Any]] = {
    "associate": ("GET", "/associate?vol_type_id={type}", None),
    "disassociate": ("GET", "/disassociate?vol_type_id={type}", None),
    "disassociate all": ("GET", "/disassociate_all", None),
    "keys": ("PUT", "", {"qos_specs": {"iops": "200", "new": "1", "consumer": "both"}}),
    "no key": ("PUT", "/delete_keys", {"keys": ["old"]}),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_at_every_site_or_at_none(
    admin: Client, cloud: Cloud, fast: str, fake: str, change: str
) -> None:
    method, tail, body = CHANGES[change]
    if "disassociate" in change:
        assert (await admin.get(f"{fast}/associate?vol_type_id={fake}")).status_code == 202
    before = at(cloud)
    path = fast + tail.format(type=fake)
    word = tail.strip("/").partition("?")[0] or "qos-specs"
    fault = Fault("status", service="volume", method=method, path=word + r"\b", status=403, count=1)
    cloud.site("site3").faults.add(fault)
    answer = await admin.request(method, path, json=body)
    assert answer.status_code == 403, answer.text
    assert at(cloud) == before
    cloud.site("site3").faults.add(Fault("refuse"))
    away = await admin.request(method, path, json=body)
    assert (away.status_code, "site3" in away.text) == (503, True)
    assert at(cloud) == before
    cloud.site("site3").faults.clear()
    for _ in range(3):  # the site is not asked again at once
        answer = await admin.request(method, path, json=body)
        if answer.status_code < 300:
            break
    assert answer.status_code < 300, answer.text
    now = at(cloud)
    assert now[0] == now[1] == now[2] != before[0]


CIPHER = {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "control_location": "front-end"}


async def test_a_type_is_encrypted_at_every_site_or_at_none(admin: Client, cloud: Cloud, fake: str) -> None:
    path = f"{VOLUME}/types/{fake}/encryption"

    async def both(method: str, path: str, body: Any) -> None:
        before = at(cloud)
        cloud.site("site2").faults.add(Fault("status", service="volume", method=method, status=403, count=1))
        answer = await admin.request(method, path, json=body)
        assert answer.status_code == 403, answer.text
        assert at(cloud) == before
        answer = await admin.request(method, path, json=body)
        assert answer.status_code < 300, answer.text
        now = at(cloud)
        assert now[0] == now[1] == now[2] != before[0]

    await both("POST", path, {"encryption": CIPHER})
    shown = (await admin.get(path)).json()
    assert (shown["volume_type_id"], shown["cipher"]) == (fake, "aes-xts-plain64")
    await both("PUT", f"{path}/{shown['encryption_id']}", {"encryption": {"key_size": 512}})
    await both("DELETE", f"{path}/{shown['encryption_id']}", None)
    assert (await admin.get(path)).json() == {}


@pytest.mark.parametrize(
    ("tail", "body"),
    [
        ("", {"qos_specs": [{}]}),
        ("", {"qos_specs": None}),
        ("/delete_keys", {"keys": {"a": 1}}),
        ("/delete_keys", {"keys": [{}, 1]}),
        ("/delete_keys", [1]),
    ],
)
async def test_bodies_that_are_none_are_for_a_site_to_refuse(
    admin: Client, cloud: Cloud, fast: str, tail: str, body: Any
) -> None:
    before = at(cloud)
    for site in cloud.sites:  # as Cinder's schemas do
        site.faults.add(Fault("status", service="volume", method="PUT", status=400))
    answer = await admin.put(fast + tail, json=body)
    assert answer.status_code == 400, answer.text
    assert at(cloud) == before
