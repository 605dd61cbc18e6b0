"""`openstack site …`, `zone list`, `where`, `same list`, `atoll run …`."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keystoneauth1.exceptions import NotFound
from osc_lib.command import command
from osc_lib.exceptions import CommandError

from atoll.osc.client import Client

Rows = tuple[Sequence[str], Iterable[Sequence[Any]]]
SHORTEST_ID = 32


def _atoll(one: command.Command) -> Client:
    """The client that the plugin made."""
    made: Client = one.app.client_manager.atoll  # type: ignore[attr-defined]
    return made


def _rows(items: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Rows:
    """Columns by their headings, and the items as rows of them."""
    return tuple(columns), [tuple(_shown(item.get(key)) for key in columns.values()) for item in items]


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return value


class ListSite(command.Lister):
    """List the sites behind this cloud, with state and health."""

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        """Ask and show."""
        del parsed_args
        sites = _atoll(self).get("/sites")["sites"]
        rows = [
            site | {"away": [name for name, one in site["endpoints"].items() if not one["healthy"]]}
            for site in sites
        ]
        columns = {"Name": "name", "Region": "region", "State": "state", "Zones": "zones", "Away": "away"}
        return _rows(rows, columns)


class ShowSite(command.ShowOne):
    """Show one site: its endpoints, their versions, and what is wrong with them."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the name of the site."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("site", metavar="<site>", help="Name of the site")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Ask and show."""
        try:
            site = _atoll(self).get(f"/sites/{parsed_args.site}")["site"]
        except NotFound as error:
            raise CommandError(f"There is no site {parsed_args.site}.") from error
        for service, endpoint in site.pop("endpoints").items():
            versions = endpoint["versions"]
            state = "well" if endpoint["healthy"] else f"away: {endpoint['reason']}"
            site[service] = (
                f"{endpoint['url']} ({'-'.join(versions) if versions else 'no versions'}; {state})"
            )
        return tuple(site), tuple(_shown(value) for value in site.values())


class ListZone(command.Lister):
    """List the availability zones with the site that each is in."""

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        """Ask and show."""
        del parsed_args
        zones = _atoll(self).get("/zones")["zones"]
        return _rows(zones, {"Name": "name", "Site": "site", "Zone of the site": "zone"})


class ListRun(command.Lister):
    """List runs, work that touches several sites, newest first."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add which ones."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--state", metavar="<state>", help="Only in this state (running, done, parked, …)"
        )
        parser.add_argument("--dead", action="store_true", help="Only what an operator has to look at")
        parser.add_argument("--limit", metavar="<number>", type=int, default=50, help="How many at the most")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        """Ask and show."""
        dead = "true" if parsed_args.dead else None
        runs = _atoll(self).get("/runs", state=parsed_args.state, dead=dead, limit=parsed_args.limit)["runs"]
        columns = {
            "ID": "id", "Definition": "definition", "State": "state", "Purpose": "purpose",
            "Waits for": "waits", "Created at": "created_at",
        }  # fmt: skip
        return _rows(runs, columns)


class ShowRun(command.ShowOne):
    """Show one run: where it stands, why, and where each of its steps does."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the id of the run."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("run", metavar="<run>", help="Id of the run")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Ask and show."""
        try:
            run = dict(_atoll(self).get(f"/runs/{parsed_args.run}")["run"])
        except NotFound as error:
            raise CommandError(f"There is no run {parsed_args.run}.") from error
        run["steps"] = "\n".join(
            " ".join(filter(None, [step["name"], step["site"], step["state"], step["error"]]))
            for step in run["steps"]
        )
        run["residue"] = [f"{one['step']}: {one['text']}" for one in run["residue"]]
        return tuple(run), tuple(_shown(value) for value in run.values())


class Where(command.Lister):
    """Say at which site resources are, by their ids, as far as is on record."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the ids."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("ids", metavar="<id>", nargs="+", help="Ids of servers, volumes, networks, …")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        """Ask and show."""
        api = _atoll(self)
        found = []
        for ident in parsed_args.ids:
            locations = api.get(f"/locations/{ident}")["locations"]
            if not locations:
                is_id = len(ident) >= SHORTEST_ID
                why = "ask for it and it is looked for" if is_id else "give an id, not a name"
                self.app.stderr.write(f"{ident}: not on record; {why}\n")
            found += locations
        return _rows(found, {"ID": "id", "Type": "resource_type", "Site": "site", "Deleted": "deleted"})


class ListSame(command.Lister):
    """List what several sites have as one: images, flavors, keypairs, networks, with the reason."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the type."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--type", metavar="<type>", help="Only of this type (image, flavor, network, …)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        """Ask and show."""
        same = _atoll(self).get("/same", resource=parsed_args.type)["same"]
        columns = {"ID": "id", "Type": "resource", "Name": "name", "IDs at sites": "ids", "Reason": "reason"}
        return _rows(same, columns)
