"""Creates of what is one thing at every site: made at all of them, or at none.

    POST  /…/{collection}   flavors, keypairs, volume types, …

The first site alone goes first: it refuses for all, or generates what the others import. Where one of the
others refuses or does not answer, what was made is deleted again; what may have been made is looked for, and
deleted only if it is provably of this request. What remains somewhere is in the fault.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec
import structlog

from atoll.core.errors import AtollError, BadSiteAnswer, Conflict, SiteTimeout, SiteUnavailable
from atoll.core.metadef_inverses import FIELDS
from atoll.core.spans import find, splice
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.everywhere import UNDO_SECONDS, garbled
from atoll.gateway.fanout import scatter
from atoll.gateway.forward import SiteAnswer, said
from atoll.gateway.parts import Parts
from atoll.sites.site import Site

log = structlog.get_logger()

Made = Callable[[Call, Mapping[str, SiteAnswer]], Awaitable[None]]


@dataclass(slots=True)
class _Work:
    """A create on its way. `sent` is the body for the other sites; the rest is by site name."""

    call: Call
    resource: str
    given: bytes
    sent: bytes
    made: dict[str, SiteAnswer] = field(default_factory=dict)
    refused: dict[str, SiteAnswer] = field(default_factory=dict)
    failed: dict[str, AtollError] = field(default_factory=dict)
    remaining: dict[str, str] = field(default_factory=dict)  # -> why it could not be deleted
    unknown: list[str] = field(default_factory=list)

    @property
    def what(self) -> str:
        return self.resource.replace("_", " ")


class SharedCreates:
    """Makes things everywhere."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def create(
        self,
        call: Call,
        text: bytes,
        sites: Sequence[Site],
        *,
        sent: bytes | None = None,
        answer: Made | None = None,
    ) -> None:
        """Make what a body describes at every site, or at none.

        `sent` is that body with an id of ours, `answer` says what was made where the first site's answer
        would not do.
        """
        resource = call.match.route.resource if call.match.route is not None else ""
        if sent is None:
            sent = with_flavor_id(text) if resource == "flavor" and bodies.decoded(text) is not None else text
        work = _Work(call, resource, text, sent)
        self._require_all(work, sites)
        await self._make(work, sites[:1])
        if work.made and len(sites) > 1:
            if resource == "keypair":
                work.sent = with_public_key(text, next(iter(work.made.values())).text)
            await self._make(work, sites[1:])
        if work.refused or work.failed:
            await self._take_back(work)
            self._refuse(work)
            return
        if answer is not None:
            await answer(call, work.made)
            return
        await self._parts.equivalents.made(resource, {name: one.text for name, one in work.made.items()})
        self._answer(call, *next(iter(work.made.items())))

    def _require_all(self, work: _Work, sites: Sequence[Site]) -> None:
        """Raise SiteUnavailable while a site is away: nothing is made at only some of them."""
        for site in sites:
            away = site.notice or ("" if site.healthy(work.call.service_type) else "away")
            if away:
                what = "This image" if work.resource == "image" else f"A {work.what}"
                where = "each of its sites" if work.resource == "image" else "every site"
                raise SiteUnavailable(
                    f"{what} is made at {where}, and {site.name} is {away}.",
                    resource=work.resource,
                    site=site.name,
                    retry_after=5,
                )

    async def _make(self, work: _Work, sites: Sequence[Site]) -> None:
        call, parts = work.call, self._parts
        target = call.path + (b"?" + call.request.query if call.request.query else b"")
        gathered = await scatter(
            {
                site.name: parts.forward.ask(
                    call, parts.endpoint(site, call), b"POST", target, body=work.sent
                )
                for site in sites
            }
        )
        work.failed |= gathered.failed
        for name, answer in gathered.answered.items():
            if answer.status >= 300:
                work.refused[name] = answer
            elif garbled(answer) or not identity_of(answer.text, work.resource):
                work.failed[name] = BadSiteAnswer(f"The site {name} answered what names nothing.", site=name)
            else:
                work.made[name] = answer

    # -- taking back ------------------------------------------------------------------------------

    async def _take_back(self, work: _Work) -> None:
        """Delete what was made, and what may have been where that is provably of this request."""
        for name, answer in work.made.items():
            ident = identity_of(answer.text, work.resource)
            await self._release(work, name, ident, answer.text)
            await self._delete(work, name, ident)
        for name, error in work.failed.items():
            if isinstance(error, SiteTimeout | BadSiteAnswer):
                await self._look(work, name)

    async def _release(self, work: _Work, name: str, ident: str, shown: bytes) -> None:
        """Take the protection away from what was made protected: nobody could delete it."""
        if (released := unprotected(work.resource, shown)) is None:
            return
        method, kind, body = released
        try:
            await self._ask(work, name, method, ident, "undo", body=body, kind=kind)
        except AtollError as error:  # the delete says then why it cannot be
            log.warning("undo_failed", request_id=work.call.id, site=name, id=ident, reason=str(error)[:256])

    async def _delete(self, work: _Work, name: str, ident: str) -> None:
        reason = ""
        try:
            answer = await self._ask(work, name, b"DELETE", ident, "undo")
        except AtollError as error:
            reason = str(error)
        else:
            if answer.status >= 300 and answer.status != 404:
                reason = f"it answered {answer.status}: {said(answer)}"
        if reason:
            work.remaining[name] = reason
            log.error("undo_failed", request_id=work.call.id, site=name, id=ident, reason=reason[:256])
        else:
            log.info("undone", request_id=work.call.id, site=name, id=ident)

    async def _look(self, work: _Work, name: str) -> None:
        """Look for what a site may have made although its answer was lost.

        Only what is provably ours is deleted: a key that another site generated, a flavor under an id of our
        making.
        """
        proof = proof_of(work.given, work.sent)
        ident = identity_of(work.sent, work.resource)
        try:
            seen = await self._ask(work, name, b"GET", ident, "check") if ident else None
        except AtollError:
            seen = None
        if seen is not None and seen.status == 404:
            return
        if seen is not None and seen.status == 200 and proof and proof in seen.text:
            await self._delete(work, name, ident)
            return
        work.unknown.append(name)
        log.error("outcome_unknown", request_id=work.call.id, site=name, resource=work.resource, id=ident)

    async def _ask(
        self, work: _Work, name: str, method: bytes, ident: str, why: str, *, body: bytes | None = None,
        kind: bytes = b"application/json",
    ) -> SiteAnswer:  # fmt: skip
        parts, call = self._parts, work.call
        path = call.path.rstrip(b"/") + b"/" + quote(ident, safe="").encode()
        aside = call.aside(parts.forward.now() + UNDO_SECONDS)
        aside.request.index = {**aside.request.index, b"content-type": kind}
        endpoint = parts.endpoint(parts.sites.by_name[name], call)
        return await parts.forward.ask(aside, endpoint, method, path, body=body, why=why)

    # -- answering --------------------------------------------------------------------------------

    def _refuse(self, work: _Work) -> None:
        """Pass on a refusal; raise where no site's own words tell how it stands."""
        if work.refused and not work.failed and not work.remaining:
            self._answer(work.call, *next(iter(work.refused.items())))
            return
        text = [f"The {work.what} is not made at every site it is to be at."]
        text += [f"{name} refused it ({one.status}: {said(one)})." for name, one in work.refused.items()]
        text += [str(error) for error in work.failed.values()]
        if work.remaining:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in work.remaining.items())
            text.append(
                f"It was made and could not be deleted again at {', '.join(work.remaining)} ({reasons})."
            )
        if work.unknown:
            text.append(f"Whether it was made at {', '.join(work.unknown)} is not known.")
        if not work.remaining and not work.unknown:
            text.append("Nothing of it is left.")
        names, message = ", ".join([*work.refused, *work.failed]), " ".join(text)
        if not work.failed:
            raise Conflict(message, resource=work.resource, site=names)
        if all(isinstance(error, SiteUnavailable) for error in work.failed.values()):
            raise SiteUnavailable(message, resource=work.resource, site=names, retry_after=5)
        raise SiteTimeout(message, resource=work.resource, site=names)

    def _answer(self, call: Call, name: str, answer: SiteAnswer) -> None:
        parts = self._parts
        parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), answer)


def with_flavor_id(text: bytes) -> bytes:
    """A flavor without an id of its own gets one here, so that it is the same at every site."""
    for start, end in find(text, ("flavor", "id")):
        if text[start:end] in {b"null", b'"auto"', b'""'}:
            return splice(text, [((start, end), b'"%b"' % str(uuid.uuid4()).encode())])
        return text
    for start, _ in find(text, ("flavor",)):
        if text[start : start + 1] != b"{":
            break  # a site says what is wrong with it
        inside = b'"id": "%b", ' % str(uuid.uuid4()).encode()
        return splice(text, [((start + 1, start + 1), inside)])
    return text


def with_public_key(text: bytes, answer: bytes) -> bytes:
    """The body for the other sites: the key that the first site generated is imported there."""
    try:
        made: Mapping[str, Mapping[str, object]] = msgspec.json.decode(answer)
        public_key = made["keypair"]["public_key"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return text
    for _ in find(text, ("keypair", "public_key")):
        return text
    for start, _ in find(text, ("keypair",)):
        inside = b'"public_key": %b, ' % msgspec.json.encode(public_key)
        return splice(text, [((start + 1, start + 1), inside)])
    return text


def proof_of(given: bytes, sent: bytes) -> bytes:
    """What was put into a body on its way: an id or a key that nobody else has."""
    if given == sent:
        return b""
    for path in (("flavor", "id"), ("keypair", "public_key"), ("id",)):
        for start, end in find(sent, path):
            return sent[start:end].strip(b'"')
    return b""


def unprotected(resource: str, shown: bytes) -> tuple[bytes, bytes, bytes] | None:
    """(method, media type, body) of what takes its protection from a thing of Glance's; None: it has none."""
    if resource not in {"image", "namespace"}:
        return None
    made = bodies.decoded(shown) or {}
    if not made.get("protected"):
        return None
    if resource == "image":
        operation = {"op": "replace", "path": "/protected", "value": False}
        return b"PATCH", b"application/openstack-images-v2.1-json-patch", msgspec.json.encode([operation])
    fields = {key: made[key] for key in FIELDS if key in made} | {"protected": False}
    return b"PUT", b"application/json", msgspec.json.encode(fields)


def identity_of(text: bytes, resource: str) -> str:
    """What a thing in a body or an answer is addressed by; "" where that is not said."""
    key = {"keypair": "name", "namespace": "namespace"}.get(resource, "id")
    try:
        content = msgspec.json.decode(text)
        first = next(iter(content.values()))
        return str(first[key] if isinstance(first, dict) else content[key])
    except (msgspec.DecodeError, KeyError, StopIteration, AttributeError):
        return ""
