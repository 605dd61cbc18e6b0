"""All services by type, and which of them a type of resource is at home in."""

from atoll.core.ids import IdForm
from atoll.services.block_storage import BLOCK_STORAGE
from atoll.services.compute import COMPUTE
from atoll.services.identity import IDENTITY
from atoll.services.image import IMAGE
from atoll.services.network import NETWORK
from atoll.services.other import OTHER
from atoll.services.table import Resource

SERVICES = {one.service_type: one for one in (COMPUTE, BLOCK_STORAGE, IMAGE, NETWORK, IDENTITY)} | OTHER

# Nova shows others' resources under its own URLs: the service that owns a type comes last and wins.
HOMES = {
    resource.name: service.service_type
    for service in (*OTHER.values(), COMPUTE, IMAGE, BLOCK_STORAGE, NETWORK)
    for resource in service.resources
}
HOMES["service"] = "compute"

_FORMS = {"uuid": IdForm.UUID, "any": IdForm.ANY}


def resource_named(name: str) -> Resource:
    """The resource of a type, as its own service declares it."""
    return SERVICES[HOMES[name]].by_name[name]


def form_of(resource: str) -> IdForm:
    """Which values can be an id of a type at all."""
    return _FORMS[resource_named(resource).id_form]
