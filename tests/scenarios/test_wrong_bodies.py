"""Bodies in the wrong dialect, or in none: the fault of the service called, and nothing made anywhere."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from tests.scenarios.conftest import Client

from atoll.sandbox.simulated import Cloud

VOLUME, IMAGE, NETWORK = "/block-storage/v3", "/image/v2", "/network/v2.0"
# What each service calls for, sent to the others.
DIALECTS: Mapping[str, Any] = {
    "nova": {"server": {"name": "x", "flavorRef": "42", "imageRef": "i"}},
    "cinder": {"volume": {"size": 1}},
    "glance": {"name": "x", "disk_format": "raw", "container_format": "bare"},
    "neutron": {"network": {"name": "x"}},
    "keystone": {"auth": {"identity": {"methods": ["password"]}}},
}
OWN = {VOLUME: "cinder", IMAGE: "glance", NETWORK: "neutron"}
PATHS = (f"{VOLUME}/volumes", f"{VOLUME}/snapshots", f"{VOLUME}/backups", f"{VOLUME}/os-volume-transfer",
         f"{IMAGE}/images", f"{NETWORK}/networks", f"{NETWORK}/ports",
         f"{NETWORK}/security-group-rules")  # fmt: skip
NO_JSON = {
    "half": b'{"volume": ', "text": b"hello", "bytes": b"\xff\xfe\x00", "xml": b"<volume/>",
}  # fmt: skip
NO_OBJECT = {"null": b"null", "number": b"3", "string": b'"x"', "array": b"[1]"}


def things(cloud: Cloud) -> list[int]:
    """How much each site has."""
    return [
        len(site.block_storage.volumes) + len(site.block_storage.snapshots) + len(site.block_storage.backups)
        + len(site.block_storage.transfers) + len(site.image.images)
        + sum(len(site.network.records.of(kind)) for kind in ("networks", "ports", "security-group-rules"))
        for site in cloud.sites
    ]  # fmt: skip


def refused_by(path: str, answer: httpx.Response, *, odd: bool = False) -> None:
    """A refusal in the words of the service; of what is `odd` Glance says 500, to everybody."""
    most = 501 if odd and path.startswith(IMAGE) else 500
    assert 400 <= answer.status_code < most, (answer.status_code, answer.text)
    kind = answer.headers["content-type"].partition(";")[0]
    if path.startswith(IMAGE):
        # As Glance's are: no JSON for who does not ask for it.
        assert kind in {"text/plain", "text/html"}
        assert str(answer.status_code) in answer.text
        return
    assert kind == "application/json"
    ((name, fault),) = answer.json().items()
    assert fault["message"]
    if path.startswith(NETWORK):
        assert (name, set(fault)) == ("NeutronError", {"type", "message", "detail"})
    else:
        assert (name, fault["code"]) != ("NeutronError", 200)
        assert name in {"badRequest", "badMediaType", "itemNotFound"}


@pytest.fixture
async def before(user: Client, cloud: Cloud) -> list[int]:
    """How much each site has when it has been asked once: each makes some of it by itself."""
    await user.get(f"{NETWORK}/security-groups")
    return things(cloud)


@pytest.mark.parametrize("path", PATHS)
async def test_the_body_of_another_service(user: Client, cloud: Cloud, before: list[int], path: str) -> None:
    own = next(name for root, name in OWN.items() if path.startswith(root))
    calls_for_its_own = path in {f"{VOLUME}/volumes", f"{IMAGE}/images", f"{NETWORK}/networks"}
    for dialect, body in DIALECTS.items():
        if dialect != own or not calls_for_its_own:
            refused_by(path, await user.post(path, json=body))
            assert things(cloud) == before, dialect


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_is_none(user: Client, cloud: Cloud, before: list[int], path: str) -> None:
    for name, content in {**NO_JSON, **NO_OBJECT}.items():
        answer = await user.post(path, content=content, headers={"Content-Type": "application/json"})
        refused_by(path, answer, odd=name in NO_OBJECT)
        assert things(cloud) == before, name


CHANGES = {
    "volume": (f"{VOLUME}/volumes", {"volume": {"size": 1, "name": "kept"}}, "PUT"),
    "image": (f"{IMAGE}/images", {"name": "kept", "disk_format": "raw", "container_format": "bare"}, "PATCH"),
    "network": (f"{NETWORK}/networks", {"network": {"name": "kept"}}, "PUT"),
}


@pytest.mark.parametrize("kind", CHANGES)
async def test_a_change_in_the_words_of_another_service(user: Client, kind: str) -> None:
    path, body, method = CHANGES[kind]
    made = (await user.post(path, json=body)).json()
    ident = made["id"] if kind == "image" else made[kind]["id"]
    words = "application/openstack-images-v2.1-json-patch" if kind == "image" else "application/json"
    own = {"volume": "cinder", "image": "", "network": "neutron"}[kind]
    for dialect in sorted(DIALECTS.keys() - {own}):
        answer = await user.request(
            method, f"{path}/{ident}", content=json.dumps(DIALECTS[dialect]), headers={"Content-Type": words}
        )
        refused_by(path, answer)
    shown = (await user.get(f"{path}/{ident}")).json()
    assert (shown if kind == "image" else shown[kind])["name"] == "kept"
