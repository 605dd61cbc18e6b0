"""Entries of clouds.yaml (with secure.yaml, profiles and regions) as what Atoll needs to log in there."""

from dataclasses import dataclass
from typing import Any

from atoll.trust.login import LoginError, LoginRefused, Options
from atoll.trust.records import CloudRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry: where, how, and the regions it names (none: all of the catalogue)."""

    cloud: CloudRecord
    options: Options
    regions: tuple[str, ...]


def v3_url(url: str) -> str:
    """A Keystone's URL with its version."""
    url = url.rstrip("/")
    return url if url.endswith("/v3") else f"{url.removesuffix('/v2.0')}/v3"


def read_entry(name: str) -> Entry:
    """The entry of a name, from where openstacksdk looks for it. Slow the first time. Raises LoginError."""
    from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - slow to import
    from openstack.config import OpenStackConfig  # noqa: PLC0415
    from openstack.exceptions import SDKException  # noqa: PLC0415

    try:
        configured = OpenStackConfig()
        known = configured.get_cloud_names()
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise LoginRefused(f"there is no entry {name} in clouds.yaml; there are {there}")
        region = configured.get_one(cloud=name, validate=False)
        regions = [one["name"] for one in configured._get_regions(cloud=name)]  # noqa: SLF001
    except (SDKException, ClientException, OSError) as error:
        raise LoginRefused(
            f"the entry {name} of clouds.yaml cannot be read ({type(error).__name__})"
        ) from error
    return _entry(name, region.config, tuple(filter(None, regions)))


def _entry(name: str, config: dict[str, Any], regions: tuple[str, ...]) -> Entry:
    auth = {key.replace("-", "_"): value for key, value in (config.get("auth") or {}).items()}
    url = auth.pop("auth_url", None)
    if not url:
        raise LoginRefused(f"the entry {name} of clouds.yaml has no auth_url")
    cacert = config.get("cacert") or ""
    cloud = CloudRecord(
        name=name,
        auth_url=v3_url(str(url)),
        verify=bool(config.get("verify", True)),
        cacert=str(cacert),
    )
    extra = {key: config[key] for key in ("auth_methods",) if config.get(key)}
    options = Options(auth_type=str(config.get("auth_type") or "password"), auth={**auth, **extra})
    return Entry(cloud=cloud, options=options, regions=regions)


__all__ = ["Entry", "LoginError", "read_entry", "v3_url"]
