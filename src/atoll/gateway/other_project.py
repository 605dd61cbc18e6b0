"""What Nova and Cinder say to a path that names another project than the token's.

They look at the version first, then at the body's type and the body, then at the project, and only then at
what is asked for. No such request goes to a site: nothing there is to be tried with it.
"""

import json

from atoll.core.errors import AtollError, BadRequest, UnsupportedMediaType
from atoll.gateway import versions
from atoll.gateway.call import Call
from atoll.sites.site import Site

# Types of body that are read, and those that are as good as none.
READ = {
    "compute": frozenset({"application/json", "application/vnd.openstack.compute+json"}),
    "block-storage": frozenset({"application/json", "application/vnd.openstack.volume+json"}),
}
UNTYPED = {"compute": frozenset({"", "text/plain"}), "block-storage": frozenset({""})}
WITH_BODY = frozenset({b"POST", b"PUT"})


async def refusal(call: Call, project: str, sites: list[Site], *, body_limit: int) -> AtollError:
    """The fault for a path with that project. Raises the one for a version that no site takes."""
    headers = versions.told(call, sites)
    service = call.service_type
    media = call.header(b"content-type").partition(";")[0].strip().lower()
    body = await call.read_body(body_limit) if call.request.has_body else b""
    looked_at = service == "compute" or bool(body)
    if looked_at and media not in READ[service] | UNTYPED[service]:
        return UnsupportedMediaType("Unsupported Content-Type", headers=headers)
    parsed = service == "compute" or media in READ[service]
    if body and parsed and call.request.method in WITH_BODY and not _is_json(body):
        return BadRequest("Malformed request body", headers=headers)
    if service != "compute":
        return BadRequest("Malformed request url", headers=headers)
    return BadRequest(
        f"Malformed request URL: URL's project_id '{project}' doesn't match Context's project_id "
        f"'{call.caller.project_id}'",
        headers=headers,
    )


def _is_json(body: bytes) -> bool:
    """As Python's own reader says, for that is theirs: it takes NaN."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
