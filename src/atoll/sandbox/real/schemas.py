"""Databases with their schema: migrated once for each release, afterwards loaded from a dump of that."""

from collections.abc import Callable
from pathlib import Path

from atoll.sandbox.real.commands import Argument, run
from atoll.sandbox.real.database import Database, dump_is_whole
from atoll.sandbox.real.installation import pins_digest
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import Keystone, Release, Site

SITE_SERVICES = ("neutron", "nova", "cinder", "nova_api", "glance", "placement")  # the slow ones first


class Schemas:
    """The cache of dumps, and the databases made from it."""

    def __init__(self, layout: Layout, database: Database, say: Callable[[str], None]) -> None:
        self.directory = layout.schemas
        self.database = database
        self.say = say

    def forget(self, release: Release) -> None:
        """Drop the release's dumps: the next databases are migrated."""
        for dump in self._directory(release).glob("*.sql"):
            dump.unlink()

    def keystone(self, keystone: Keystone) -> None:
        """Have Keystone's database."""
        configuration = keystone.directory / "keystone.conf"
        manage = keystone.release.bin / "keystone-manage"
        migrate: list[Argument] = [manage, "--config-file", configuration, "db_sync"]
        self._have(keystone.release, "keystone", [keystone.database], migrate)

    def service(self, site: Site, service: str) -> None:
        """Have the databases of one service of a site, named as in `SITE_SERVICES`; nova has a cell0 too."""
        names = [site.database(service)]
        if service == "nova":
            names.append(f"{site.database('nova')}_cell0")
        self._have(site.release, service, names, _migration(site, service))

    def _have(self, release: Release, service: str, names: list[str], migrate: list[Argument]) -> None:
        """Make what is not marked as done, whatever is there of an attempt that was cut short."""
        dump = self._directory(release) / f"{service}.sql"
        for name in names:
            if self.database.done(f"schema {name}"):
                continue
            self.database.recreate(name)
            if dump_is_whole(dump):
                self.database.load(dump, name)
            else:
                self.say(f"migrating {service}'s schema")
                run(migrate, timeout=900)
                dump.parent.mkdir(parents=True, exist_ok=True)
                self.database.dump(name, dump)
            self.database.mark_done(f"schema {name}")

    def _directory(self, release: Release) -> Path:
        return self.directory / f"{release.name}-{pins_digest(release)}"


def _migration(site: Site, service: str) -> list[Argument]:
    """The migration goes to the first database of the service, the one its configuration names."""
    program, name, words = {
        "placement": ("placement-manage", "placement/placement.conf", ["db", "sync"]),
        "nova_api": ("nova-manage", "nova/nova.conf", ["api_db", "sync"]),
        "nova": ("nova-manage", "nova/nova.conf", ["db", "sync", "--local_cell"]),
        "neutron": ("neutron-db-manage", "neutron/neutron.conf", ["upgrade", "heads"]),
        "cinder": ("cinder-manage", "cinder/cinder.conf", ["db", "sync"]),
        "glance": ("glance-manage", "glance/glance-api.conf", ["db_sync"]),
    }[service]
    return [site.release.bin / program, "--config-file", site.directory / name, *words]
