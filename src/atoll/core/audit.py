"""Who did what, where, with which outcome: events in the form of CADF (DMTF DSP0262). No token, no body."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

EVENT: Final = "http://schemas.dmtf.org/cloud/audit/1.0/event"
_ACTIONS: Final[Mapping[str, str]] = {
    "GET": "read", "HEAD": "read", "POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete",
}  # fmt: skip
_SERVICES: Final[Mapping[str, str]] = {
    "compute": "compute", "block-storage": "storage/volume", "image": "storage/image", "network": "network",
    "identity": "data/security", "atoll": "service",
}  # fmt: skip

Outcome = Literal["success", "failure", "unknown"]


class Resource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Somebody or something in an event: who began it, what it was done to, who saw it."""

    id: str
    type_uri: str = msgspec.field(name="typeURI")
    name: str = ""
    project_id: str = msgspec.field(name="project_id", default="")
    host: dict[str, str] = {}
    addresses: list[dict[str, str]] = []


class Reason(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The status of the answer."""

    reason_type: str = "HTTP"
    reason_code: str


class Attachment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something more: `sites`, those that were asked; `error`, what went wrong in Atoll's words."""

    name: str
    type_uri: str = msgspec.field(name="typeURI", default="mime:application/json")
    content: object


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One event."""

    type_uri: str = msgspec.field(name="typeURI")
    id: str
    event_type: str
    event_time: str
    action: str
    outcome: Outcome
    initiator: Resource
    target: Resource
    observer: Resource
    reason: Reason
    request_path: str
    request_id: str
    attachments: list[Attachment] = []


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """A request at its end. `time` is in seconds since 1970; `made` are the ids of what it created."""

    request_id: str
    time: float
    method: str
    service: str
    path: str
    status: int
    resource: str
    resource_id: str = ""
    action: str = ""
    made: Sequence[str] = ()
    user_id: str = ""
    project_id: str = ""
    client: str = ""
    sites: Sequence[str] = ()
    error: str = ""


def outcome(status: int) -> Outcome:
    """What an answer says of the deed: a time-out, or a client that left, leaves it open."""
    if status in {499, 504}:
        return "unknown"
    return "success" if 0 < status < 400 else "failure"


def event(deed: Deed, observer: str) -> Event:
    """The event of a deed; `observer` is the name of this Atoll."""
    kind = f"{_SERVICES.get(deed.service, 'service')}/{deed.resource or 'unknown'}"
    action = _ACTIONS.get(deed.method, "unknown")
    if deed.action:
        action = f"update/{deed.action}"
    elif deed.method == "POST" and deed.resource_id:
        action = "update"
    attachments = []
    if deed.sites:
        attachments.append(Attachment(name="sites", content=list(dict.fromkeys(deed.sites))))
    if len(deed.made) > 1:
        attachments.append(Attachment(name="made", content=list(deed.made)))
    if deed.error:
        attachments.append(Attachment(name="error", content=deed.error))
    return Event(
        type_uri=EVENT,
        id=str(uuid.uuid4()),
        event_type="activity",
        event_time=datetime.fromtimestamp(deed.time, UTC).isoformat(timespec="microseconds"),
        action=action,
        outcome=outcome(deed.status),
        initiator=Resource(
            id=deed.user_id or "unknown",
            type_uri="service/security/account/user",
            project_id=deed.project_id,
            host={"address": deed.client} if deed.client else {},
        ),
        target=Resource(id=deed.resource_id or next(iter(deed.made), "") or "unknown", type_uri=kind),
        observer=Resource(id=observer, type_uri="service/atoll"),
        reason=Reason(reason_code=str(deed.status)),
        request_path=deed.path,
        request_id=deed.request_id,
        attachments=attachments,
    )
