"""An upload that goes to several sites at once: taken from the client once, whole at every site or at none.

    PUT  /v2/images/{id}/file    PUT  /v2/images/{id}/stage

The slowest site sets the pace, and one piece is held for all of them. The last piece is kept back until
every site has taken all before it: when one fails before, the others are cut, and Glance has the image queued
again. What they stored is compared with what went through; images that differ are deleted.
"""

import asyncio
import hashlib
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog

from atoll.core.errors import (
    AtollError,
    BadSiteAnswer,
    Conflict,
    RequestTimeout,
    SiteTimeout,
    SiteUnavailable,
)
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.everywhere import UNDO_SECONDS
from atoll.gateway.fanout import Gathered, none_answered, scatter
from atoll.gateway.forward import SiteAnswer, read_json, said
from atoll.gateway.locate import show_target
from atoll.gateway.parts import Parts
from atoll.sites.site import Site
from atoll.wire.body import Body, Fed
from atoll.wire.message import Request
from atoll.wire.server import ClientGone

log = structlog.get_logger()

LOOK_SECONDS: Final = 0.2
"""Sites are looked at this often until they say what became of an upload that was cut."""

ALGORITHM: Final = "sha512"
"""What Glance hashes with unless its operator says otherwise."""

Shown = dict[str, dict[str, Any]]  # by site: the image as it shows it
Waited = TypeVar("Waited")


class _Branch:
    """The upload to one site: the body it is fed, and its answer to come."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.body = Fed()
        self.task: asyncio.Task[SiteAnswer]


@dataclass(slots=True)
class _Sent:
    """What came of sending a body: by site name, and how the client ended it, if it did."""

    done: dict[str, SiteAnswer] = field(default_factory=dict)
    refused: dict[str, SiteAnswer] = field(default_factory=dict)
    failed: dict[str, AtollError] = field(default_factory=dict)
    digest: str = ""  # of all that was sent; "" where it was not sent to its end
    ended: Exception | None = None


@dataclass(slots=True)
class _Left:
    """What is left of an upload that did not succeed, by site name."""

    status: dict[str, str] = field(default_factory=dict)  # where it is still there
    deleted: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)  # -> why it could not be deleted
    unknown: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.deleted and not self.kept and not self.unknown


class ImageUploads:
    """Uploads to several sites."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def upload(self, call: Call, sites: Sequence[Site], ident: str) -> None:
        """Pass an upload on to all sites, or to none.

        Raises SiteUnavailable, SiteTimeout, BadSiteAnswer, Conflict where no site's own words say how it
        stands, RequestTimeout for a client that stalls, ClientGone for one that has gone, TooLarge.
        """
        await self._require_ready(call, sites, ident)
        if call.request.expects_continue:
            call.reply.informational(100)
        sent = await self._sent(call, sites)
        if sent.ended is None and len(sent.done) == len(sites):
            await self._compare(call, sites, ident, sent.digest)
            self._answer(call, sent.done)
            return
        left = await self._taken_back(call, sites, ident, sent)
        if sent.ended is not None:
            raise sent.ended
        if sent.refused and left.clean:
            self._answer(call, sent.refused)
            return
        raise _told(ident, sent, left)

    async def _require_ready(self, call: Call, sites: Sequence[Site], ident: str) -> None:
        """Raise SiteUnavailable while a site does not answer, Conflict where the image takes no bytes.

        A site must not be asked to refuse it: others might take it meanwhile.
        """
        shown, failed = await self._shown(call, sites, ident)
        if failed:
            raise none_answered(f"the image {ident}, and nothing was uploaded", failed)
        states = {site.name: str(shown.get(site.name, {}).get("status", "not there")) for site in sites}
        found = set(states.values())
        if len(found) > 1:
            text = ", ".join(f"{state} at {name}" for name, state in states.items())
            raise Conflict(
                f"The image {ident} is {text}: bytes go to all its sites or to none. "
                "Delete it and make it anew.",
                resource="image",
                id=ident,
            )
        wanted = "uploading" if _staged(call) else "saving"
        if found != {"queued"}:
            raise Conflict(
                f"Image status transition from {found.pop()} to {wanted} is not allowed",
                resource="image",
                id=ident,
            )

    # -- moving bytes -----------------------------------------------------------------------------

    async def _sent(self, call: Call, sites: Sequence[Site]) -> _Sent:
        """Send the body to all sites. When one fails, or the client, the others are cut."""
        branches = [_Branch(site) for site in sites]
        # Cancelled when one of them has ended.
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for one in branches:
            one.task = asyncio.get_running_loop().create_task(self._send(call, one))
            one.task.add_done_callback(lambda _: over.cancel())
        tasks = [one.task for one in branches]
        sent, digest = _Sent(), hashlib.new(ALGORITHM)
        try:
            if not call.request.has_body or await self._feed(call, branches, digest, over):
                sent.digest = digest.hexdigest()
                await asyncio.wait(tasks)
        except (ClientGone, AtollError) as error:
            sent.ended = error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for one in branches:
            failure = None if one.task.cancelled() else one.task.exception()
            if isinstance(failure, AtollError):
                sent.failed[one.site.name] = failure
            elif failure is not None:
                raise failure
            elif not one.task.cancelled():
                answer = one.task.result()
                (sent.done if answer.status < 300 else sent.refused)[one.site.name] = answer
        return sent

    async def _send(self, call: Call, branch: _Branch) -> SiteAnswer:
        request, endpoint = call.request, self._parts.endpoint(branch.site, call)
        own = Request(request.method, request.path, request.index, request.lines)
        own.content_length, own.body = request.content_length, branch.body
        aside = Call(
            own, call.reply, call.id, call.deadline, call.service, call.match, call.caller, call.path,
            sites=call.sites, as_admin=call.as_admin,
        )  # fmt: skip
        response = await self._parts.forward.send(aside, endpoint, raw=True)
        return SiteAnswer(response.status, response, await read_json(endpoint, response))

    @staticmethod
    async def _feed(
        call: Call, branches: Sequence[_Branch], digest: "hashlib._Hash", over: asyncio.Future[None]
    ) -> bool:
        """Give every site each piece as it comes, the last one when all have taken all before.

        False when a site answered early or failed. Raises RequestTimeout, ClientGone, TooLarge.
        """
        source, held = call.request.body, b""
        stall = max(one.site.endpoints[call.service_type].origin.stall_seconds for one in branches)
        while True:
            data = source.taken() or await _unless(over, _read(source, stall))
            if data is None:
                return False
            if held:
                for one in branches:
                    if await _unless(over, one.body.hungry()) is None:
                        return False
                for one in branches:
                    one.body.feed(held)
            if not data:
                for one in branches:
                    one.body.finish()
                return True
            digest.update(data)
            held = data

    # -- afterwards -------------------------------------------------------------------------------

    async def _compare(self, call: Call, sites: Sequence[Site], ident: str, digest: str) -> None:
        """Compare what the sites stored with what went through; images that differ are deleted.

        Raises BadSiteAnswer, or SiteTimeout for a site that could not be asked.
        """
        if _staged(call):
            return  # of that nothing is said before it is imported
        shown, failed = await self._shown(call, sites, ident, again=True)
        wrong = {name: _differs(one, digest, _size(call)) for name, one in shown.items()}
        others = {(one.get("os_hash_algo"), one.get("os_hash_value")) for one in shown.values()}
        algorithms = {algorithm for algorithm, _ in others}
        if len(others) > len(algorithms):
            wrong[sites[-1].name] = wrong[sites[-1].name] or "it is not what the others have"
        wrong = {name: why for name, why in wrong.items() if why}
        if wrong:
            left = _Left()
            await self._delete(call, sites, ident, left)
            reasons = "; ".join(f"{name}: {why}" for name, why in wrong.items())
            raise BadSiteAnswer(
                f"Not what was sent is stored of the image {ident} ({reasons}). {_said_left(left)}",
                resource="image",
                id=ident,
                site=", ".join(wrong),
            )
        if failed:
            raise SiteTimeout(
                f"The image {ident} is stored at {', '.join(shown)}. {', '.join(failed)} took it too, and "
                "could not be asked what it stored.",
                resource="image",
                id=ident,
                site=", ".join(failed),
            )

    async def _taken_back(self, call: Call, sites: Sequence[Site], ident: str, sent: _Sent) -> _Left:
        """See what is left at the sites; where one has stored these very bytes, the image is deleted at all.

        What somebody else has uploaded meanwhile stays.
        """
        shown, failed = await self._settled(call, sites, ident, sent)
        left = _Left(unknown=list(failed))
        ours = [
            name
            for name, one in shown.items()
            if name not in sent.refused
            and sent.digest
            and one.get("status") not in {"queued", "saving"}
            and (name in sent.done or not _differs(one, sent.digest, _size(call)))
        ]
        if ours:
            await self._delete(call, [site for site in sites if site.name in shown], ident, left)
        else:
            left.status = {name: str(one.get("status")) for name, one in shown.items()}
        log.warning(
            "upload_undone", request_id=call.id, id=ident, status=left.status, deleted=left.deleted,
            kept=left.kept, unknown=left.unknown,
        )  # fmt: skip
        return left

    async def _settled(
        self, call: Call, sites: Sequence[Site], ident: str, sent: _Sent
    ) -> tuple[Shown, dict[str, AtollError]]:
        """What the sites show once none says that bytes of ours are coming in any more."""
        end = self._parts.forward.now() + UNDO_SECONDS
        while True:
            shown, failed = await self._shown(call, sites, ident)
            busy = [
                name
                for name, one in shown.items()
                if name not in sent.done
                and name not in sent.refused
                and one.get("status") in {"saving", "uploading"}
            ]
            if not busy or self._parts.forward.now() > end:
                return shown, failed
            await asyncio.sleep(LOOK_SECONDS)

    async def _delete(self, call: Call, sites: Sequence[Site], ident: str, left: _Left) -> None:
        parts = self._parts
        gathered = await self._ask(call, sites, ident, b"DELETE", "undo")
        left.unknown += gathered.failed
        for name, answer in gathered.answered.items():
            if answer.status < 300 or answer.status == 404:
                left.deleted.append(name)
            else:
                left.kept[name] = f"it answered {answer.status}: {said(answer)}"
        parts.locator.gone("image", ident)

    async def _shown(
        self, call: Call, sites: Sequence[Site], ident: str, *, again: bool = False
    ) -> tuple[Shown, dict[str, AtollError]]:
        """What the sites show of the image, and those that do not answer, asked `again` for a while."""
        end = self._parts.forward.now() + UNDO_SECONDS
        while True:
            gathered = await self._ask(call, sites, ident, b"GET", "check")
            failed = dict(gathered.failed)
            for name, answer in gathered.answered.items():
                if answer.status not in {200, 404}:
                    failed[name] = SiteUnavailable(f"The site {name} answered {answer.status}.", site=name)
            if not again or not failed or self._parts.forward.now() > end:
                break
            await asyncio.sleep(LOOK_SECONDS)
        there = {name: one for name, one in gathered.answered.items() if one.status == 200}
        await self._parts.equivalents.passed(call, "image", [(name, one.text) for name, one in there.items()])
        return {name: bodies.decoded(one.text) or {} for name, one in there.items()}, failed

    async def _ask(
        self, call: Call, sites: Sequence[Site], ident: str, method: bytes, why: str
    ) -> Gathered[SiteAnswer]:
        parts = self._parts
        aside = call.aside(parts.forward.now() + UNDO_SECONDS)
        _, target = show_target(call, "image", ident)
        return await scatter(
            {
                site.name: parts.forward.ask(aside, parts.endpoint(site, call), method, target, why=why)
                for site in sites
            }
        )

    def _answer(self, call: Call, answers: Mapping[str, SiteAnswer]) -> None:
        name, answer = next(iter(answers.items()))
        parts = self._parts
        parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), answer)


async def _read(source: Body, stall: float) -> bytes:
    """The next of the client's bytes. Raises RequestTimeout, and what the body was ended with."""
    try:
        async with asyncio.timeout(stall):
            return await source.read()
    except TimeoutError as error:
        raise RequestTimeout("The request body did not come in time.") from error


async def _unless(over: asyncio.Future[None], work: Coroutine[Any, Any, Waited]) -> Waited | None:
    """What some work gives, or None when it is over before."""
    task = asyncio.get_running_loop().create_task(work)
    waits: set[asyncio.Future[Any]] = {task, over}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
    return None if over.done() else task.result()


def _differs(shown: Mapping[str, Any], digest: str, size: int) -> str:
    """What a site stored that is not what was sent, in words; "" for nothing."""
    if shown.get("size") != size:
        return f"{shown.get('size')} bytes of {size}"
    if shown.get("os_hash_algo") == ALGORITHM and shown.get("os_hash_value") != digest:
        return f"{ALGORITHM} {str(shown.get('os_hash_value'))[:12]}… and not {digest[:12]}…"
    return ""


def _staged(call: Call) -> bool:
    return call.path.rstrip(b"/").endswith(b"/stage")


def _size(call: Call) -> int:
    return call.request.body.received if call.request.has_body else 0


def _told(ident: str, sent: _Sent, left: _Left) -> AtollError:
    """What to raise where no site's own words tell how it stands."""
    text = [f"The upload of the image {ident} did not reach all its sites."]
    text += [f"{name} refused it ({one.status}: {said(one)})." for name, one in sent.refused.items()]
    text += [str(error) for error in sent.failed.values()]
    text.append(_said_left(left))
    names = ", ".join([*sent.refused, *sent.failed])
    if any(not isinstance(error, SiteUnavailable) for error in sent.failed.values()):
        return SiteTimeout(" ".join(text), resource="image", id=ident, site=names)
    if sent.failed:
        return SiteUnavailable(" ".join(text), resource="image", id=ident, site=names, retry_after=5)
    return Conflict(" ".join(text), resource="image", id=ident, site=names)


def _said_left(left: _Left) -> str:
    """Where an image stands, in words."""
    text = []
    queued = [name for name, status in left.status.items() if status == "queued"]
    if queued:
        text.append(f"Nothing of it is stored at {', '.join(queued)}: it is queued there, as before.")
    text += [f"It is {status} at {name}." for name, status in left.status.items() if status != "queued"]
    if left.deleted:
        text.append(f"It is deleted at {', '.join(left.deleted)}: make it anew.")
    if left.kept:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left.kept.items())
        text.append(f"It could not be deleted at {', '.join(left.kept)} ({reasons}).")
    if left.unknown:
        text.append(f"What of it is at {', '.join(left.unknown)} is not known.")
    return " ".join(text)
