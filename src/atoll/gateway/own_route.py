"""A route of Atoll's own API in one line: method, path, who may, what comes in, what goes out.

The dispatch, the policy, the checks of what comes in and the OpenAPI document are all made of these lines.
Must not know any of the routes: they stand in the modules of their nouns, and together in `own_table`.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Meta

from atoll.core.errors import BadRequest, Forbidden, NotFound, SiteUnavailable, UnsupportedMediaType
from atoll.gateway.call import Call, Caller
from atoll.gateway.parts import Parts
from atoll.store import StoreError

BODY_LIMIT: Final = 256 * 1024
"""Bytes of a request body: a site with all its endpoints is one kilobyte."""

PAGE: Final = 100
"""Items in a page where no `limit` says otherwise."""

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


class Who(Enum):
    """Who may use a route. The value is the sentence of the documentation."""

    ANYONE = "anyone with a token"
    OWN = "anyone with a token, for what is their project's; administrators for all"
    ADMIN = "administrators"


class In(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes in: a field that is not known is refused."""


class Out(msgspec.Struct, frozen=True, kw_only=True):
    """What goes out."""


class NoQuery(In, frozen=True, kw_only=True):
    """No parameter."""


class NoBody(In, frozen=True, kw_only=True):
    """No field: an empty body, or `{}`."""


Marker = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f]*$")]


class Paging(In, frozen=True, kw_only=True):
    """A page of a list."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = PAGE
    marker: Marker = ""
    """What `next` of the page before said."""


Query = TypeVar("Query", bound=In)
Body = TypeVar("Body", bound=In)
Item = TypeVar("Item")


@dataclass(slots=True, kw_only=True)
class Asked(Generic[Query, Body]):
    """A request that came in, checked. `names` are the parameters in the path, in their order."""

    parts: Parts
    call: Call
    names: tuple[str, ...]
    query: Query
    body: Body

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self.call.caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An answer that goes on: server-sent events, each part one or several of them as they are written."""

    parts: AsyncGenerator[bytes, None]


Handle = Callable[[Asked[Any, Any]], Awaitable[Out | Stream | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One line of the table. The handler's docstring is the route's in the documentation.

    `answer` None: 204 without a body, or where it `streams` server-sent events.
    """

    method: str
    path: str
    who: Who
    handle: Handle
    answer: type[Out] | None = None
    status: int = 200
    query: type[In] = NoQuery
    body: type[In] | None = None
    streams: bool = False

    @property
    def parameters(self) -> list[str]:
        """The names in the path."""
        return _PARAMETER.findall(self.path)

    @property
    def optional_body(self) -> bool:
        """Whether an empty body will do: none of its fields is required."""
        return self.body is not None and not any(one.required for one in msgspec.structs.fields(self.body))

    def names(self, path: bytes) -> tuple[str, ...] | None:
        """The parameters of a path below /atoll/v1, None where it is not of this route. Raises NotFound."""
        theirs, ours = path.split(b"/"), self.path.encode().split(b"/")
        if len(theirs) != len(ours):
            return None
        found = []
        for one, wanted in zip(theirs, ours, strict=True):
            if wanted.startswith(b"{"):
                found.append(_name(one))
            elif one != wanted:
                return None
        return tuple(found)

    async def answered(self, parts: Parts, call: Call, names: tuple[str, ...]) -> Out | Stream | None:
        """Check what comes in, and what the handler makes of it.

        Raises Forbidden, BadRequest, UnsupportedMediaType, TooLarge, SiteUnavailable while the store does not
        answer, and what the handler raises.
        """
        if self.who is Who.ADMIN and not call.caller.is_admin:
            raise Forbidden(f"{self.method} {self.path} is for administrators.")
        asked = Asked(
            parts=parts,
            call=call,
            names=names,
            query=_query(call.request.query, self.query),
            body=await self._body(call),
        )
        try:
            return await self.handle(asked)
        except StoreError as error:
            raise SiteUnavailable(f"Atoll's store does not answer: {error}", retry_after=5) from error

    async def _body(self, call: Call) -> In:
        if self.body is None:
            return NoBody()
        text = await call.read_body(BODY_LIMIT)
        if not text and self.optional_body:
            return self.body()
        kind = call.header(b"content-type").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise UnsupportedMediaType(f"The body is to be application/json, not {kind or 'of no type'}.")
        try:
            return msgspec.json.decode(text, type=self.body)
        except msgspec.ValidationError as error:
            raise BadRequest(f"The body is refused: {error}.") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest("The body is not JSON.") from error


def _query(text: bytes, type_: type[In]) -> In:
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=32)
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest("The query is not legible.") from error
    values = dict(pairs)
    if len(values) != len(pairs):
        raise BadRequest("A parameter of the query is given twice.")
    try:
        return msgspec.convert(values, type_, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The query is refused: {error}.") from error


def _name(text: bytes) -> str:
    try:
        name = unquote(text.decode("ascii"), errors="strict")
    except UnicodeDecodeError as error:
        raise NotFound("Nothing is served under this path.") from error
    if not name or len(name) > 255 or any(ord(one) < 0x20 for one in name):
        raise NotFound("Nothing is served under this path.")
    return name


def page_of(items: Mapping[str, Item], paging: Paging) -> tuple[list[Item], str | None]:
    """(a page of what is in memory, by the order of its keys; what the next page's marker is).

    A marker that is gone stands for where it was.
    """
    keys = sorted(key for key in items if key > paging.marker)
    chosen = keys[: paging.limit]
    return [items[key] for key in chosen], chosen[-1] if len(keys) > len(chosen) else None
