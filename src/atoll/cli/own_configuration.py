"""The configuration that `atoll serve --clouds` writes for itself, and what it reads of an earlier one."""

import contextlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atoll.cli.found_clouds import Failed, OwnCloud, OwnSite


def configuration(
    clouds: Sequence[OwnCloud],
    *,
    listen: str,
    home: Path,
    projects: Mapping[str, str],
    numbers: Mapping[str, int],
) -> str:
    """An atoll.toml for these clouds.

    `projects` are the ids of Atoll's projects: of the user's own (""), and of those that stand for an entry.
    `numbers` are those of the sites.
    """
    lines = [
        "# Written by `atoll serve --clouds`, and made anew by it each time.",
        "[gateway]",
        f"listen = {json.dumps(listen)}",
        f"access_log = {json.dumps(str(home / 'access.log'))}",
        "[identity]",
        'mode = "built-in"',
        "[store]",
        f"url = {json.dumps('sqlite:///' + str(home / 'atoll.db'))}",
        "[limits]",
        "private_addresses = true",
        "[audit]",
        f"file = {json.dumps(str(home / 'audit.log'))}",
    ]
    for cloud in clouds:
        lines += _cloud(cloud)
        # Who is an administrator there asks as one what only administrators may.
        for admin in (False, True) if cloud.admin else (False,):
            lines += _credential(cloud.name, cloud.entry, projects[""], admin=admin)
        for entry in cloud.projects:
            lines += _credential(cloud.name, entry, projects[entry], admin=False)
        for site in cloud.sites:
            lines += [f"[sites.{json.dumps(site.name)}]", f"region = {json.dumps(site.region)}"]
            lines += [f"cloud = {json.dumps(cloud.name)}", f"number = {numbers[site.name]}"]
            lines += [f"[sites.{json.dumps(site.name)}.endpoints]"]
            lines += [f"{service} = {json.dumps(url)}" for service, url in sorted(site.endpoints.items())]
    return "\n".join(lines) + "\n"


def _cloud(cloud: OwnCloud) -> list[str]:
    record = cloud.record
    said = {"cacert": record.cacert, "cert": record.cert, "key": record.secret_key}
    return [
        f"[clouds.{json.dumps(cloud.name)}]",
        f"auth_url = {json.dumps(record.auth_url)}",
        f"verify = {json.dumps(record.verify)}",
        *(f"{name} = {json.dumps(path)}" for name, path in said.items() if path),
    ]


def _credential(cloud: str, entry: str, project_id: str, *, admin: bool) -> list[str]:
    return [
        "[[credentials]]",
        f"cloud = {json.dumps(cloud)}",
        f"project_id = {json.dumps(project_id)}",
        f"clouds_yaml = {json.dumps(entry)}",
        f"admin = {json.dumps(admin)}",
    ]


class Earlier:
    """What an earlier start left in a directory."""

    def __init__(self, home: Path) -> None:
        self._numbers = home / "numbers.json"
        try:
            self._config: dict[str, Any] = tomllib.loads((home / "atoll.toml").read_text())
        except (OSError, tomllib.TOMLDecodeError):
            self._config = {}

    @property
    def url(self) -> str:
        """The Keystone that it was to its clients, "" where there was none."""
        listen = self._config.get("gateway", {}).get("listen", "")
        return f"http://{listen}/identity/v3" if listen else ""

    def cloud(self, away: Failed, names: Sequence[str]) -> OwnCloud | None:
        """The cloud of an entry as it was, so that it is used when it comes back; None where it was not.

        Of its sites those of the entries `names`.
        """
        entry = away.entry
        credentials = [one for one in self._config.get("credentials", ()) if one["clouds_yaml"] == away.name]
        clouds = self._config.get("clouds", {})
        for one in credentials:
            name = one["cloud"]
            others = [other for other in self._config["credentials"] if other["cloud"] == name]
            # The first of them is that of the cloud's own project.
            if entry is None or others[0] is not one or clouds[name]["auth_url"] != entry.cloud.auth_url:
                continue
            projects = [other["clouds_yaml"] for other in others if other["clouds_yaml"] in names]
            return OwnCloud(
                name,
                away.name,
                entry.cloud,
                "",
                admin=any(other["admin"] for other in others),
                sites=[site for site in self._sites(name) if _of(site, names)],
                projects=[project for project in dict.fromkeys(projects) if project != away.name],
            )
        return None

    def _sites(self, cloud: str) -> list[OwnSite]:
        return [
            OwnSite(name, one["region"], one["endpoints"])
            for name, one in self._config.get("sites", {}).items()
            if one["cloud"] == cloud
        ]

    def numbers(self, sites: Sequence[str]) -> dict[str, int]:
        """The number of each site, that which it ever had: ids that users keep have it in them."""
        known = {name: int(one["number"]) for name, one in self._config.get("sites", {}).items()}
        with contextlib.suppress(OSError, ValueError):
            known |= json.loads(self._numbers.read_text())
        for name in sites:
            known.setdefault(name, max(known.values(), default=-1) + 1)
        self._numbers.write_text(json.dumps(known))
        return known


def _of(site: OwnSite, names: Sequence[str]) -> bool:
    return any(site.name == name or site.name.startswith(f"{name}-") for name in names)
