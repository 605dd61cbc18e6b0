"""Migrations of a simulated Nova: a live one is under way for as long as its server says so.

How long that is, is the site's `action_seconds`.
"""

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.sandbox.simulated.compute_hosts import page
from atoll.sandbox.simulated.compute_refusals import action_of
from atoll.sandbox.simulated.flavors import policy
from atoll.sandbox.simulated.instances import Instance, Json, micro
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.server_view import links
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

LIVE = "live-migration"
_TYPES = {"migrate": "migration", "os-migrateLive": LIVE}
_DETAILS = ("disk_processed_bytes", "disk_remaining_bytes", "disk_total_bytes", "memory_processed_bytes",
            "memory_remaining_bytes", "memory_total_bytes")  # fmt: skip


@dataclass(slots=True)
class Migration:
    """One migration. `ended` is the status of one that was ended before its time."""

    id: int
    instance: Instance
    kind: str
    created: int
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    ended: str = ""

    @property
    def status(self) -> str:
        """Nova's status."""
        if self.kind != LIVE:
            return "finished"
        return self.ended or ("running" if self.instance.task_state == "migrating" else "completed")


class Migrations:
    """All migrations of a site, and those of one server that are under way."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute
        self.all: list[Migration] = []

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("GET", "/os-migrations", self._list)
        under = "/servers/{id}/migrations"
        compute.route("GET", under, self._list_of_server, since=23)
        compute.route("GET", under + "/{migration}", self._show, since=23)
        compute.route("DELETE", under + "/{migration}", self._abort, since=24)
        compute.route("POST", under + "/{migration}/action", self._act, since=22)

    def began(self, instance: Instance, action: str) -> None:
        """Note that an action that moves a server has begun."""
        if action in _TYPES:
            now = int(self.compute.site.clock())
            self.all.append(Migration(len(self.all) + 1, instance, _TYPES[action], now))

    def _shown(self, call: Call, one: Migration) -> Json:
        host = self.compute.host
        shown: Json = {"id": one.id, "status": one.status}
        shown |= dict.fromkeys(("source_compute", "source_node", "dest_compute", "dest_node"), host)
        shown |= {"dest_host": "127.0.0.1", "created_at": micro(one.created), "updated_at": None}
        if call.minor >= 59:
            shown["uuid"] = one.uuid
        if call.minor >= 80:
            shown |= {"user_id": one.instance.user_id, "project_id": one.instance.project_id}
        return shown

    def _list(self, call: Call) -> Response:
        policy(call, "os-migrations:index")
        wanted, host = call.one("instance_uuid"), call.one("host")
        self.compute.instances.settle()
        found = [
            self._listed(call, one)
            for one in self.all
            if wanted in (None, one.instance.id) and host in (None, self.compute.host)
        ]
        if call.minor < 59:
            return self.compute.json({"migrations": found})
        found.sort(key=lambda one: (one["created_at"], one["id"]), reverse=True)
        return self.compute.json(page(call, "migrations", found, "uuid", self.compute.max_limit))

    def _listed(self, call: Call, one: Migration) -> Json:
        flavor = one.instance.flavor["seq"]
        shown = self._shown(call, one) | {"instance_uuid": one.instance.id}
        shown |= {"old_instance_type_id": flavor, "new_instance_type_id": flavor}
        if call.minor >= 23:
            shown["migration_type"] = one.kind
            if one.kind == LIVE and one.status == "running":
                shown["links"] = links(call, f"servers/{one.instance.id}/migrations", str(one.id))
        return shown

    def _of_server(self, call: Call, one: Migration) -> Json:
        return self._shown(call, one) | {"server_uuid": one.instance.id} | dict.fromkeys(_DETAILS, 1)

    def _list_of_server(self, call: Call) -> Response:
        policy(call, "servers:migrations:index")
        instance = self.compute.servers.find(call)
        found = [one for one in self.all if one.instance is instance and one.status == "running"]
        return self.compute.json({"migrations": [self._of_server(call, one) for one in found]})

    def _named(self, call: Call, instance: Instance) -> Migration | None:
        ident = call.params["migration"]
        return next((one for one in self.all if one.instance is instance and str(one.id) == ident), None)

    def _show(self, call: Call) -> Response:
        policy(call, "servers:migrations:show")
        instance, ident = self.compute.servers.find(call), call.params["migration"]
        one = self._named(call, instance)
        if one is None:
            raise Fault(404, f"In-progress live migration {ident} is not found for server {instance.id}.")
        if one.kind != LIVE:
            raise Fault(404, f"Migration {ident} for server {instance.id} is not live-migration.")
        if one.status != "running":
            raise Fault(404, f"Live migration {ident} for server {instance.id} is not in progress.")
        return self.compute.json({"migration": self._of_server(call, one)})

    def _under_way(self, call: Call, instance: Instance, action: str, missing: int) -> Migration:
        """The migration that a change is about. Raises Fault, `missing` its status where there is none."""
        if instance.task_state != "migrating":
            state = "an invalid state for"
            raise Fault(409, f"Instance {instance.id} is in {state} '{action}'")
        one = self._named(call, instance)
        if one is None:
            ident = call.params["migration"]
            raise Fault(missing, f"Migration {ident} not found for instance {instance.id}")
        return one

    def _end(self, one: Migration, status: str) -> Response:
        one.ended = status
        one.instance.become("active", self.compute.site.clock())
        self.compute.instances.touch(one.instance)
        return self.compute.empty(202)

    def _abort(self, call: Call) -> Response:
        policy(call, "servers:migrations:delete")
        instance = self.compute.servers.find(call)
        return self._end(self._under_way(call, instance, "abort live migration", 404), "cancelled")

    def _act(self, call: Call) -> Response:
        action, _ = action_of(call)
        if action != "force_complete":
            raise Fault(400, f"There is no such action: {action}")
        policy(call, "servers:migrations:force_complete")
        instance = self.compute.servers.find(call)
        return self._end(self._under_way(call, instance, "force_complete", 400), "completed")
