"""What a transaction can create and delete, and how each is found again.

A worker may die between a create and its answer. So what is created bears a mark: in the metadata of a
server or volume, in the description of what is Neutron's; it is taken off when all is there. What can bear
none is told by what it joins (a volume and a server, a router and a subnet), says (a rule) or its name.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from atoll.core.errors import BadRequest
from atoll.workflow.outcomes import Failed, Refused, Unavailable
from atoll.workflow.sealed import SECRET

MARK: Final = "atoll_run"
PAGE: Final = 500

Ask = Callable[..., Awaitable[tuple[int, Any]]]
"""`ask(method, target, body, version=…)`: (the status, what the JSON says)."""
Item = Mapping[str, Any]

ATTACH: Final = "2.79"
"""Nova's newest word of attachments that answers once it is known that the volume can be had: from 2.101 on
it answers before it has looked."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
_SECRET: Final = SECRET | {"private_key", "password", "OS-EXT-SRV-ATTR:user_data"}
"""What a service shows and is not to be written down."""


class Kind(Protocol):
    """One kind of resource. An `ident` names one; it is what `id` of a result says."""

    @property
    def word(self) -> str:
        """What it is called."""

    def check(self, body: Mapping[str, Any]) -> None:
        """Raise `BadRequest` for what cannot be created in a transaction, whatever the service says."""

    async def create(self, ask: Ask, body: Item, mark: str, version: str) -> Item:
        """Create one. Raises `Refused`, and what `ask` raises."""

    async def find(self, ask: Ask, body: Item, mark: str) -> Sequence[Item]:
        """Find what an earlier try with this mark created."""

    async def ready(self, ask: Ask, ident: str) -> Item | None:
        """What is there once it can be used, None while it cannot. Raises `Failed`."""

    async def delete(self, ask: Ask, ident: str) -> None:
        """Have it deleted. Raises `Refused`; what is not there any more is deleted."""

    async def gone(self, ask: Ask, ident: str) -> bool:
        """Whether it is not there any more."""

    async def unmark(self, ask: Ask, made: Item, body: Item) -> None:
        """Take the mark off. What is not there any more has none."""


def _told(body: Item) -> list[tuple[str, object]]:
    """What a body says in plain values."""
    return [(key, value) for key, value in sorted(body.items()) if isinstance(value, str | int)]


def plain(item: Item) -> Item:
    """What a service showed, without what is secret."""
    return {key: value for key, value in item.items() if key not in _SECRET}


def _refused(word: str, what: str, status: int, answer: Any) -> Refused:
    message = answer
    while isinstance(message, Mapping):
        message = message.get("message") or message.get("detail") or next(iter(message.values()), "")
    return Refused(f"the {word} was not {what} ({status}): {str(message)[:500]}")


async def _deleted(ask: Ask, word: str, target: str) -> None:
    status, answer = await ask("DELETE", target)
    if status not in {200, 202, 204, 404}:
        raise _refused(word, "deleted", status, answer)


async def _shown(ask: Ask, word: str, target: str, key: str) -> Item | None:
    status, answer = await ask("GET", target)
    if status == 404:
        return None
    if status != 200 or not isinstance(answer, Mapping):
        raise Unavailable(f"the {word} cannot be seen ({status})")
    item: Item = answer.get(key, answer)
    return item


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordinary:
    """A resource with a collection of its own. `done`: the states in which it can be used, none: at once."""

    word: str
    path: str
    listed: str = ""
    """The collection with all fields of the items, where it is another path."""
    microversions: str = ""
    """The service as its microversion header names it; "": it has none."""
    metadata: bool = False
    """The mark is in the metadata, otherwise in the description."""
    by_name: bool = False
    """Its list can be asked for a name, a regular expression, and not for metadata."""
    by_content: bool = False
    """It bears no mark, since it cannot be changed; there is only one of what it says."""
    done: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()

    @property
    def _many(self) -> str:
        return f"{self.word}s"

    def check(self, body: Mapping[str, Any]) -> None:
        """Refuse secrets that are not known to be some where they stand, and marks of others."""
        if secret := sorted((_SECRET - SECRET) & body.keys()):
            raise BadRequest(f"{secret[0]} of a {self.word} is a secret: transactions are written down.")
        if self.metadata and not isinstance(body.get("metadata", {}), Mapping):
            raise BadRequest(f"metadata of a {self.word} is to be an object.")

    def _marked(self, body: Item, mark: str) -> Item:
        if self.by_content:
            return body
        if self.metadata:
            return {**body, "metadata": {**(body.get("metadata") or {}), MARK: mark}}
        return {**body, "description": self._said(body, mark)}

    @staticmethod
    def _said(body: Item, mark: str) -> str:
        """A description with the mark: one of Neutron's has at most 255 characters."""
        tail = f"[{MARK} {mark}]"
        return f"{str(body.get('description') or '')[: 254 - len(tail)]} {tail}".strip()

    async def create(self, ask: Ask, body: Item, mark: str, version: str) -> Item:
        """Create one, with its mark."""
        header = f"{self.microversions} {version}" if self.microversions else ""
        status, answer = await ask("POST", self.path, {self.word: self._marked(body, mark)}, version=header)
        if status not in {200, 201, 202} or not isinstance(answer, Mapping) or self.word not in answer:
            raise _refused(self.word, "created", status, answer)
        return plain(answer[self.word])

    async def find(self, ask: Ask, body: Item, mark: str) -> Sequence[Item]:
        """Go through those that may be it."""
        every = await self._listed(ask, self._query(body, mark))
        return [plain(one) for one in every if self._bears(one, body, mark)]

    async def called(self, ask: Ask, key: str, name: str) -> Sequence[Item]:
        """Find those of a name, or of what else tells them."""
        query = self._regular(name) if self.by_name else f"&{key}={quote(name)}"
        return [plain(one) for one in await self._listed(ask, query) if one.get(key) == name]

    async def _listed(self, ask: Ask, query: str) -> list[Item]:
        found: dict[str, Item] = {}
        marker = ""
        while True:
            target = f"{self.listed or self.path}?limit={PAGE}{query}{marker}"
            status, answer = await ask("GET", target)
            if status != 200 or not isinstance(answer, Mapping):
                raise Unavailable(f"{self._many} cannot be listed ({status})")
            page = {str(one["id"]): one for one in answer.get(self._many, [])}
            goes_on = any(one.get("rel") == "next" for one in answer.get(f"{self._many}_links", []))
            if goes_on and page.keys() <= found.keys():
                raise Unavailable(f"the list of {self._many} does not get on")
            found |= page
            if not goes_on:
                return list(found.values())
            marker = f"&marker={next(reversed(page))}"

    @staticmethod
    def _regular(name: str) -> str:
        """Nova takes a name for a regular expression."""
        return f"&name=^{name}$" if _PLAIN_NAME.fullmatch(name) else ""

    def _query(self, body: Item, mark: str) -> str:
        if self.by_content:
            return "".join(f"&{key}={quote(str(value))}" for key, value in _told(body))
        if not self.metadata:
            return f"&description={quote(self._said(body, mark))}"
        if not self.by_name:
            return "&metadata=" + quote(f"{{'{MARK}': '{mark}'}}")
        return self._regular(str(body.get("name", "")))

    def _bears(self, item: Item, body: Item, mark: str) -> bool:
        if self.by_content:
            return all(str(item.get(key)) == str(value) for key, value in _told(body))
        if self.metadata:
            return bool((item.get("metadata") or {}).get(MARK) == mark)
        return bool(item.get("description") == self._said(body, mark))

    async def ready(self, ask: Ask, ident: str) -> Item | None:
        """See whether it can be used."""
        item = await _shown(ask, self.word, f"{self.path}/{ident}", self.word)
        if item is None:
            raise Failed(f"the {self.word} {ident} was deleted by somebody else")
        status = str(item.get("status", ""))
        if self.failed and status in self.failed:
            fault = (item.get("fault") or {}).get("message", "")
            raise Failed(f"the {self.word} {ident} came to {status}{': ' if fault else ''}{fault}")
        return plain(item) if not self.done or status in self.done else None

    async def delete(self, ask: Ask, ident: str) -> None:
        """Delete it."""
        await _deleted(ask, self.word, f"{self.path}/{ident}")

    async def gone(self, ask: Ask, ident: str) -> bool:
        """See whether it is gone."""
        item = await _shown(ask, self.word, f"{self.path}/{ident}", self.word)
        if item is not None and str(item.get("status", "")).lower().startswith("error_del"):
            raise Refused(f"the {self.word} {ident} came to {item['status']}")
        return item is None or str(item.get("status", "")).upper() in {"DELETED", "SOFT_DELETED"}

    async def unmark(self, ask: Ask, made: Item, body: Item) -> None:
        """Take the mark off."""
        if self.by_content:
            return
        if self.metadata:
            await ask("DELETE", f"{self.path}/{made['id']}/metadata/{MARK}")
        else:
            change = {self.word: {"description": str(body.get("description") or "")}}
            await ask("PUT", f"{self.path}/{made['id']}", change)


@dataclass(frozen=True, slots=True)
class Keypair:
    """A user's key: made of a public one, since a private one would have to be written down."""

    word = "keypair"
    _path = "/compute/v2.1/os-keypairs"

    def check(self, body: Mapping[str, Any]) -> None:
        """Refuse to have a key made."""
        if not body.get("public_key"):
            raise BadRequest("A keypair of a transaction needs its public_key: a private one is not kept.")
        if not isinstance(body.get("name"), str):
            raise BadRequest("A keypair needs a name.")

    async def create(self, ask: Ask, body: Item, mark: str, version: str) -> Item:
        """Import it."""
        del mark
        status, answer = await ask("POST", self._path, {"keypair": body}, version=f"compute {version}")
        if status not in {200, 201} or not isinstance(answer, Mapping):
            raise _refused(self.word, "created", status, answer)
        return {**plain(answer["keypair"]), "id": body["name"]}

    async def find(self, ask: Ask, body: Item, mark: str) -> Sequence[Item]:
        """Look for the same key under the name."""
        del mark
        return [one for one in await self.called(ask, "name", str(body["name"])) if _key(one) == _key(body)]

    async def called(self, ask: Ask, key: str, name: str) -> Sequence[Item]:
        """Find the one of a name."""
        del key
        item = await _shown(ask, self.word, f"{self._path}/{quote(name, safe='')}", "keypair")
        return [] if item is None else [{**plain(item), "id": name}]

    async def ready(self, ask: Ask, ident: str) -> Item | None:
        """See it."""
        item = await _shown(ask, self.word, f"{self._path}/{quote(ident, safe='')}", "keypair")
        return {**plain(item or {}), "id": ident}

    async def delete(self, ask: Ask, ident: str) -> None:
        """Delete it."""
        await _deleted(ask, self.word, f"{self._path}/{quote(ident, safe='')}")

    async def gone(self, ask: Ask, ident: str) -> bool:
        """See whether it is gone."""
        return await _shown(ask, self.word, f"{self._path}/{quote(ident, safe='')}", "keypair") is None

    async def unmark(self, ask: Ask, made: Item, body: Item) -> None:
        """It has none."""


def _key(item: Item) -> list[str]:
    return str(item.get("public_key", "")).split()[:2]


@dataclass(frozen=True, slots=True)
class VolumeAttachment:
    """A volume at a server: `{server_id, volume_id, …}`, the rest as Nova's volumeAttachment has it."""

    word = "volume_attachment"

    def check(self, body: Mapping[str, Any]) -> None:
        """Both ends have to be named."""
        if not {"server_id", "volume_id"} <= body.keys():
            raise BadRequest("A volume_attachment needs server_id and volume_id.")

    @staticmethod
    def _path(server: object) -> str:
        return f"/compute/v2.1/servers/{server}/os-volume_attachments"

    async def create(self, ask: Ask, body: Item, mark: str, version: str) -> Item:
        """Attach it."""
        del mark
        rest = {key: value for key, value in body.items() if key not in {"server_id", "volume_id"}}
        given = {"volumeAttachment": {**rest, "volumeId": body["volume_id"]}}
        if version == "latest":
            version = ATTACH
        status, answer = await ask("POST", self._path(body["server_id"]), given, version=f"compute {version}")
        if status not in {200, 202}:
            raise _refused(self.word, "made", status, answer)
        return {"id": f"{body['server_id']}/{body['volume_id']}"}

    async def find(self, ask: Ask, body: Item, mark: str) -> Sequence[Item]:
        """Look whether it is attached."""
        del mark
        target = f"{self._path(body['server_id'])}/{body['volume_id']}"
        there = await _shown(ask, self.word, target, "volumeAttachment")
        return [] if there is None else [{"id": f"{body['server_id']}/{body['volume_id']}"}]

    async def ready(self, ask: Ask, ident: str) -> Item | None:
        """Wait until Cinder says so too."""
        volume = await self._volume(ask, ident)
        if volume is None or volume.get("status") in {"error", "error_attaching", "available"}:
            raise Failed(
                f"the volume of {ident} is not attached: it is {(volume or {}).get('status', 'gone')}"
            )
        return {"id": ident} if volume.get("status") == "in-use" else None

    @staticmethod
    async def _volume(ask: Ask, ident: str) -> Item | None:
        target = f"/block-storage/v3/{{project}}/volumes/{ident.partition('/')[2]}"
        return await _shown(ask, "volume", target, "volume")

    async def delete(self, ask: Ask, ident: str) -> None:
        """Detach it."""
        server, _, volume = ident.partition("/")
        await _deleted(ask, self.word, f"{self._path(server)}/{volume}")

    async def gone(self, ask: Ask, ident: str) -> bool:
        """See whether it is detached."""
        server, _, _ = ident.partition("/")
        volume = await self._volume(ask, ident)
        return volume is None or server not in {one.get("server_id") for one in volume.get("attachments", [])}

    async def unmark(self, ask: Ask, made: Item, body: Item) -> None:
        """It has none."""


@dataclass(frozen=True, slots=True)
class RouterInterface:
    """A subnet, or a port, at a router: `{router_id, subnet_id}` or `{router_id, port_id}`."""

    word = "router_interface"

    def check(self, body: Mapping[str, Any]) -> None:
        """Both ends have to be named."""
        if "router_id" not in body or len({"subnet_id", "port_id"} & body.keys()) != 1:
            raise BadRequest("A router_interface needs router_id and one of subnet_id, port_id.")

    @staticmethod
    def _path(router: object, what: str) -> str:
        return f"/network/v2.0/routers/{router}/{what}_router_interface"

    async def create(self, ask: Ask, body: Item, mark: str, version: str) -> Item:
        """Add it."""
        del mark, version
        given = {key: body[key] for key in ("subnet_id", "port_id") if key in body}
        status, answer = await ask("PUT", self._path(body["router_id"], "add"), given)
        if status != 200 or not isinstance(answer, Mapping):
            raise _refused(self.word, "made", status, answer)
        return {**answer, "id": f"{body['router_id']}/{answer['port_id']}"}

    async def find(self, ask: Ask, body: Item, mark: str) -> Sequence[Item]:
        """Look among the router's ports."""
        del mark
        target = f"/network/v2.0/ports?device_id={body['router_id']}"
        status, answer = await ask("GET", target)
        if status != 200 or not isinstance(answer, Mapping):
            raise Unavailable(f"the router's ports cannot be listed ({status})")
        return [
            {"id": f"{body['router_id']}/{port['id']}", "port_id": port["id"]}
            for port in answer.get("ports", [])
            if port["id"] == body.get("port_id")
            or body.get("subnet_id") in {one.get("subnet_id") for one in port.get("fixed_ips", [])}
        ]

    async def ready(self, ask: Ask, ident: str) -> Item | None:
        """It can be used at once."""
        router, _, port = ident.partition("/")
        del ask
        return {"id": ident, "router_id": router, "port_id": port}

    async def delete(self, ask: Ask, ident: str) -> None:
        """Remove it."""
        router, _, port = ident.partition("/")
        status, answer = await ask("PUT", self._path(router, "remove"), {"port_id": port})
        if status not in {200, 404}:
            raise _refused(self.word, "removed", status, answer)

    async def gone(self, ask: Ask, ident: str) -> bool:
        """See whether the router has the port still."""
        router, _, port = ident.partition("/")
        item = await _shown(ask, self.word, f"/network/v2.0/ports/{port}", "port")
        return item is None or item.get("device_id") != router

    async def unmark(self, ask: Ask, made: Item, body: Item) -> None:
        """It has none."""


def _network(word: str, *, by_content: bool = False) -> Ordinary:
    path = f"/network/v2.0/{word.replace('_', '-')}s"
    return Ordinary(word=word, path=path, by_content=by_content)


def _storage(word: str) -> Ordinary:
    path = f"/block-storage/v3/{{project}}/{word}s"
    return Ordinary(
        word=word,
        path=path,
        listed=f"{path}/detail",
        microversions="volume",
        metadata=True,
        done=frozenset({"available", "in-use"}),
        failed=frozenset({"error", "error_managing", "error_deleting"}),
    )


KINDS: Final[Mapping[str, Kind]] = {
    one.word: one
    for one in (
        Ordinary(
            word="server",
            path="/compute/v2.1/servers",
            listed="/compute/v2.1/servers/detail",
            microversions="compute",
            metadata=True,
            by_name=True,
            done=frozenset({"ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED"}),
            failed=frozenset({"ERROR"}),
        ),
        _storage("volume"),
        _storage("snapshot"),
        _network("network"),
        _network("subnet"),
        _network("router"),
        _network("port"),
        _network("security_group"),
        _network("security_group_rule", by_content=True),
        _network("floatingip"),
        Keypair(),
        VolumeAttachment(),
        RouterInterface(),
        Ordinary(word="backup", path="/block-storage/v3/{project}/backups"),
        Ordinary(word="image", path="/image/v2/images"),
    )
}
