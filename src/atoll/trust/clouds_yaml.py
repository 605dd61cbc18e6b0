"""Entries of clouds.yaml (with secure.yaml, profiles and regions) as what Atoll needs to log in there."""

import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from atoll.sites.certificates import Certificates
from atoll.trust.login import LoginError, LoginRefused, Options
from atoll.trust.records import CloudRecord

_reading: Final = threading.Lock()
_known: tuple[object, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry: where, how, the regions it names (none: all of the catalogue), which interface of theirs."""

    cloud: CloudRecord
    options: Options
    regions: tuple[str, ...]
    interface: str = "public"


def v3_url(url: str) -> str:
    """A Keystone's URL with its version."""
    url = url.rstrip("/")
    return url if url.endswith("/v3") else f"{url.removesuffix('/v2.0')}/v3"


def read_entry(name: str) -> Entry:
    """The entry of a name, from where openstacksdk looks for it. Slow the first time. Raises LoginError."""
    from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - slow to import
    from openstack.exceptions import SDKException  # noqa: PLC0415

    try:
        with _reading, warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            return _found(name)
    except LoginError as error:
        if any("vendor profile" in str(one.message) for one in said):
            raise LoginRefused(f"{error}, and openstacksdk does not know the profile it names") from error
        raise
    except (SDKException, ClientException, OSError) as error:
        raise LoginRefused(
            f"the entry {name} of clouds.yaml cannot be read ({type(error).__name__})"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # openstacksdk takes for granted how the file is laid out.
        raise LoginRefused(
            f"the entry {name} of clouds.yaml cannot be read: it or the file is not laid out as it should be"
        ) from error


def _found(name: str) -> Entry:
    configured = _configured()
    if configured.config_filename is None:
        raise LoginRefused(_no_file())
    known = configured.get_cloud_names()
    if name not in known:
        there = ", ".join(sorted(known)) or "none"
        raise LoginRefused(f"there is no entry {name} in {configured.config_filename}; there are {there}")
    region = configured.get_one(cloud=name, validate=False)
    regions = [one["name"] for one in configured._get_regions(cloud=name)]  # noqa: SLF001 - nothing public
    verify, cert = region.get_requests_verify_args()
    certificates = Certificates(
        verify=bool(verify),
        cacert=verify if isinstance(verify, str) else "",
        cert=(cert if isinstance(cert, str) else cert[0]) if cert else "",
        key=cert[1] if isinstance(cert, tuple) else "",
    )
    return _entry(name, region.config, tuple(filter(None, regions)), certificates)


def _configured() -> Any:
    """What openstacksdk reads of its files, as long as they are what they were.

    Reading them takes it up to a tenth of a second, and there may be many entries.
    """
    from openstack.config import loader  # noqa: PLC0415 - slow to import

    global _known  # noqa: PLW0603 - kept for the process, under the lock
    variables = {name: value for name, value in os.environ.items() if name.startswith("OS_")}
    files = [*loader.CONFIG_FILES, *loader.SECURE_FILES, *loader.VENDOR_FILES, *variables.values()]
    state = (tuple(sorted(variables.items())), *(_state(Path(file)) for file in files))
    if _known is None or _known[0] != state:
        _known = (state, loader.OpenStackConfig())
    return _known[1]


def _no_file() -> str:
    """Why openstacksdk reads no clouds.yaml: it passes over one that it cannot read without a word."""
    from openstack.config import loader  # noqa: PLC0415 - slow to import

    given = os.environ.get("OS_CLIENT_CONFIG_FILE")
    for path in (*([given] if given else []), *loader.CONFIG_FILES):
        try:
            yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            return f"{path} is no YAML" + (f": look at line {mark.line + 1}" if mark is not None else "")
    looked = f"{given}, " if given else ""
    return (
        f"there is no clouds.yaml: looked for are {looked}clouds.yaml here, in ~/.config/openstack and in "
        "/etc/openstack; OS_CLIENT_CONFIG_FILE names another"
    )


def _state(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _entry(name: str, config: dict[str, Any], regions: tuple[str, ...], certificates: Certificates) -> Entry:
    auth = {key.replace("-", "_"): value for key, value in (config.get("auth") or {}).items()}
    url = auth.pop("auth_url", None)
    if not url:
        raise LoginRefused(f"the entry {name} of clouds.yaml has no auth_url")
    cloud = CloudRecord(
        name=name,
        auth_url=v3_url(str(url)),
        verify=certificates.verify,
        cacert=certificates.cacert,
        cert=certificates.cert,
        secret_key=certificates.key,
    )
    extra = {key: config[key] for key in ("auth_methods",) if config.get(key)}
    options = Options(auth_type=str(config.get("auth_type") or "password"), auth={**auth, **extra})
    interface = str(config.get("interface") or "public").removesuffix("URL")
    return Entry(cloud=cloud, options=options, regions=regions, interface=interface)


__all__ = ["Entry", "LoginError", "read_entry", "v3_url"]
