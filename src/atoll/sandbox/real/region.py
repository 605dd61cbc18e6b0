"""Start the services of one site and wait until it can serve."""

from functools import partial

from atoll.sandbox.real.commands import Argument, run
from atoll.sandbox.real.database import Database
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.model import Site
from atoll.sandbox.real.ports import answers
from atoll.sandbox.real.processes import Processes, Service
from atoll.sandbox.real.serving import Application, closing, keeping, python_environment

# Idle seconds for which an API keeps a connection; what is not named closes every one. Apache's default for
# the odd sites, a load balancer's for the even ones: whoever stands before both has to cope with both.
KEEP_ALIVE = {1: {"nova": 5, "glance": 5}, 0: {"neutron": 60, "cinder": 60}}
APIS = {
    "placement": "placement",
    "glance": "glance-api",
    "neutron": "neutron-api",
    "cinder": "cinder-api",
    "nova": "nova-api",
}
ALREADY = "already exists"


def map_cells(site: Site, database: Database) -> None:
    """Tell nova of its cell0 and cell1."""
    mark = f"cells {site.database('nova')}"
    if database.done(mark):
        return
    manage = _nova_manage(site)
    cell0 = database.url(f"{site.database('nova')}_cell0")
    run([*manage, "cell_v2", "map_cell0", "--database_connection", cell0])
    output = run([*manage, "cell_v2", "create_cell", "--name", "cell1"], accept=(0, 2))
    if "rror" in output and ALREADY not in output:
        raise SandboxError(f"{site.region}: cell1 could not be made:\n{output}")
    database.mark_done(mark)


def start_site(site: Site, processes: Processes) -> None:
    """Start every service of a site; `wait_for_site` says when they serve."""
    for service in (*_older_apis(site), *_daemons(site)) if site.older else (*_apis(site), *_daemons(site)):
        processes.start(service)


def wait_for_site(site: Site, processes: Processes, database: Database) -> None:
    """Wait until every API answers, and computes, volume and backup services report; map new computes."""
    wait_for_apis(site, processes)
    for number in range(1, site.computes + 1):
        name = site.process(f"nova-compute{number}")
        processes.wait(name, lambda: _computes(site, database) >= site.computes)
    for program in ("cinder-volume", "cinder-backup"):
        processes.wait(site.process(program), partial(_reports, site, program, database))
    unmapped = database.execute(
        "select count(*) from compute_nodes where mapped=0 and deleted=0", site.database("nova")
    )
    if unmapped.strip() != "0":
        run([*_nova_manage(site), "cell_v2", "discover_hosts"])


def wait_for_apis(site: Site, processes: Processes) -> None:
    """Wait until every API answers."""
    for service, name in APIS.items():
        port = site.port(service)
        processes.wait(site.process(name), partial(answers, port))


def _computes(site: Site, database: Database) -> int:
    """Count those that reported of late; they do every 10 s."""
    return int(
        database.execute(
            "select count(*) from services s join compute_nodes c on c.host=s.host and c.deleted=0 "
            "where s.deleted=0 and s.`binary`='nova-compute' "
            "and timestampdiff(second, s.last_seen_up, utc_timestamp()) < 30",
            site.database("nova"),
        )
    )


def _reports(site: Site, program: str, database: Database) -> bool:
    """Whether a daemon of cinder reported of late."""
    found = database.execute(
        f"select count(*) from services where deleted=0 and `binary`='{program}' "  # noqa: S608 - our own words
        "and timestampdiff(second, updated_at, utc_timestamp()) < 30",
        site.database("cinder"),
    )
    return int(found) >= 1


def _nova_manage(site: Site) -> list[Argument]:
    return [site.release.bin / "nova-manage", "--config-file", site.directory / "nova/nova.conf"]


def _apis(site: Site) -> list[Service]:
    """The APIs as WSGI applications, each under the server that `KEEP_ALIVE` says."""
    here = site.directory
    neutron = {"OS_NEUTRON_CONFIG_DIR": str(here / "neutron"), "OS_NEUTRON_CONFIG_FILES": "neutron.conf"}
    # nova takes the first file for the paste configuration
    nova = {
        "OS_NOVA_CONFIG_DIR": str(here / "nova"),
        "OS_NOVA_CONFIG_FILES": f"{site.release.venv}/etc/nova/api-paste.ini;nova.conf",
    }
    applications = {
        "placement": ("placement.wsgi.api", {"OS_PLACEMENT_CONFIG_DIR": str(here / "placement")}),
        "glance": ("glance.wsgi.api", {"OS_GLANCE_CONFIG_DIR": str(here / "glance")}),
        "neutron": ("neutron.wsgi.api", neutron),
        "cinder": ("cinder.wsgi.api", {}),
        "nova": ("nova.wsgi.osapi_compute", nova),
    }
    # cinder alone reads no variable, only its command line
    arguments = {"cinder": ("--config-file", str(here / "cinder/cinder.conf"))}
    services = []
    for name, (module, variables) in applications.items():
        application = Application(
            site.process(APIS[name]), site.region, module, site.port(name), variables, arguments.get(name, ())
        )
        seconds = KEEP_ALIVE[site.index % 2].get(name)
        services.append(
            keeping(application, site.release, seconds, here / "serving")
            if seconds
            else closing(application, site.release)
        )
    return services


def _older_apis(site: Site) -> list[Service]:
    """Before 2025 the APIs were programs with an eventlet server of their own, which keeps connections."""
    placement = Application(
        site.process("placement"),
        site.region,
        site.release.bin / "placement-api",
        site.port("placement"),
        {"OS_PLACEMENT_CONFIG_DIR": str(site.directory / "placement")},
    )
    programs = {
        "glance": ("glance-api", "glance/glance-api.conf"),
        "neutron": ("neutron-server", "neutron/neutron.conf"),
        "cinder": ("cinder-api", "cinder/cinder.conf"),
        "nova": ("nova-api", "nova/nova.conf"),
    }
    return [
        closing(placement, site.release),
        *(
            _program(site, APIS[name], program, configuration, site.port(name))
            for name, (program, configuration) in programs.items()
        ),
    ]


def _daemons(site: Site) -> list[Service]:
    programs = [
        ("nova-conductor", "nova/nova.conf"),
        ("nova-scheduler", "nova/nova.conf"),
        ("cinder-scheduler", "cinder/cinder.conf"),
        ("cinder-volume", "cinder/cinder.conf"),
        ("cinder-backup", "cinder/cinder.conf"),
    ]
    return [
        *(_program(site, program, program, configuration) for program, configuration in programs),
        *(
            _program(site, f"nova-compute{number}", "nova-compute", f"nova/compute{number}/nova.conf")
            for number in range(1, site.computes + 1)
        ),
    ]


def _program(site: Site, name: str, program: str, configuration: str, port: int | None = None) -> Service:
    words: list[Argument] = [site.release.bin / program, "--config-file", site.directory / configuration]
    return Service(site.process(name), words, python_environment(site.release), port, site.region)
