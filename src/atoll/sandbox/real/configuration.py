"""Write the services' configuration files from the templates of a site's release."""

from collections.abc import Mapping
from pathlib import Path

from atoll.sandbox.real.database import Database
from atoll.sandbox.real.installation import DATA
from atoll.sandbox.real.messaging import Messaging
from atoll.sandbox.real.model import Keystone, Release, Site

# configuration file, type the service has for keystonemiddleware's access rules
FILES = {
    "placement": ("placement.conf", "placement"),
    "nova": ("nova.conf", "compute"),
    "neutron": ("neutron.conf", "network"),
    "cinder": ("cinder.conf", "block-storage"),
    "glance": ("glance-api.conf", "image"),
}
DIRECTORIES = (
    *("nova/lock", "nova/instances", "neutron/lock", "cinder/lock", "cinder/coord", "glance/lock"),
    *("glance/images", "glance/staging", "glance/os_staging", "glance/os_tasks"),
)


def configure_keystone(keystone: Keystone, database: Database) -> None:
    """Write keystone.conf and make the key directories."""
    for directory in ("fernet", "credential"):
        (keystone.directory / directory).mkdir(parents=True, exist_ok=True)
        (keystone.directory / directory).chmod(0o700)
    values = {
        "DATABASE": database.url(keystone.database),
        "DIRECTORY": str(keystone.directory),
        "DOMAIN": keystone.domain_id,
    }
    write(keystone.directory / "keystone.conf", render(keystone.release, "keystone.conf", values))


def configure_site(site: Site, database: Database, messaging: Messaging) -> None:
    """Write the configuration of a site's services, one per nova-compute, and make their directories."""
    for service, (name, service_type) in FILES.items():
        values = {
            "DATABASE": database.url(site.database(service)),
            "API_DATABASE": database.url(site.database("nova_api")),
            "HOST": f"{site.region.lower()}-control",
            "DIRECTORY": str(site.directory),
            "VENV": str(site.release.venv),
            "REGION": site.region,
            "TRANSPORT": messaging.url(site.vhost),
            "GLANCE_URL": site.url("glance"),
            "PORT": str(site.port(service)),
            "AUTH": authentication(site.keystone),
            "AUTHTOKEN": token_validation(site, service_type),
        }
        write(site.directory / service / name, render(site.release, name, values))
    for directory in DIRECTORIES:
        (site.directory / directory).mkdir(parents=True, exist_ok=True)
    for number in range(1, site.computes + 1):
        _configure_compute(site, number)


def _configure_compute(site: Site, number: int) -> None:
    """Every nova-compute has a host name and, for its node's identity, a state_path of its own."""
    text = (site.directory / "nova/nova.conf").read_text()
    control, state = f"host = {site.region.lower()}-control", f"state_path = {site.directory}/nova"
    text = text.replace(f"{control}\n", f"host = {site.region.lower()}-compute{number}\n")
    text = text.replace(f"{state}\n", f"{state}/compute{number}\n")
    write(site.directory / f"nova/compute{number}/nova.conf", text)


def authentication(keystone: Keystone) -> str:
    """Give the lines by which a service logs in; the user name is the template's."""
    return (
        f"auth_type = password\nauth_url = {keystone.url}\nproject_name = service\n"
        f"project_domain_id = {keystone.domain_id}\nuser_domain_id = {keystone.domain_id}\n"
        f"password = {keystone.password}"
    )


def token_validation(site: Site, service_type: str) -> str:
    """Give the lines of keystonemiddleware."""
    return (
        f"{authentication(site.keystone)}\nwww_authenticate_uri = {site.keystone.url}\n"
        f"region_name = {site.region}\ninterface = public\nservice_type = {service_type}\n"
        "service_token_roles = service\nservice_token_roles_required = true"
    )


def render(release: Release, name: str, values: Mapping[str, str]) -> str:
    """Fill a template; a release's later templates are appended, and oslo.config takes the last value."""
    paths = [DATA / directory / name for directory in release.templates]
    text = "".join(path.read_text() for path in paths if path.exists())
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def write(path: Path, text: str) -> None:
    """Write a file, its directories too, so that a reader sees all of it or the former one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.new")
    partial.write_text(text)
    partial.rename(path)
