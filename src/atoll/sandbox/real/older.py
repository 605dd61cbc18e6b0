"""A site of an older release with a Keystone of its own: it shares no user, project or domain."""

import uuid

from atoll.sandbox.real.configuration import write
from atoll.sandbox.real.layout import OLDER_INDEX, Layout, region_name
from atoll.sandbox.real.model import OLDER_PASSWORD, Keystone, Release, Site

PREFIX = "regionold-"  # of the names of its processes


def older_release(layout: Layout) -> Release:
    """Describe 2024.1, the last release many clouds still run."""
    return Release(
        name="2024.1",
        pins="pins-older.txt",
        venv=layout.venv_older,
        templates=("templates", "templates/older"),
        volume_service=("volumev3", "cinderv3"),
    )


def older_site(layout: Layout) -> Site:
    """Describe the site; the id of its domain Default is made up at the first call and kept."""
    region = region_name(OLDER_INDEX)
    directory = layout.run / region / "keystone"
    keystone = Keystone(
        process=f"{PREFIX}keystone",
        region=region,
        port=layout.port(OLDER_INDEX),
        database=f"keystone_r{OLDER_INDEX}",
        directory=directory,
        release=older_release(layout),
        admin="siloadmin",
        password=OLDER_PASSWORD,
        users=("silouser", "silouser2"),
        domain_id=_domain_id(layout),
        user_domain="silo",
        uwsgi_port=layout.port(OLDER_INDEX) + 1,
    )
    return Site(OLDER_INDEX, 1, keystone, layout)


def _domain_id(layout: Layout) -> str:
    """Not `default`: whoever relies on that word finds out here."""
    kept = layout.run / region_name(OLDER_INDEX) / "domain_id"
    if not kept.exists():
        write(kept, uuid.uuid4().hex)
    return kept.read_text().strip()
