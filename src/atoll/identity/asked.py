"""What is asked of the built-in identity and what is answered: values, no sockets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode

import msgspec

from atoll.core.errors import BadRequest, Forbidden, NotFound, Unauthorized
from atoll.identity.passwords import AUTHENTICATION_REQUIRED
from atoll.identity.tokens import Token

T = TypeVar("T")

_OFF: Final = frozenset({"0", "false", "f", "off", "n", "no"})


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Status, headers beyond those that every answer has, and the body; None for none."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None
    html: bytes | None = None


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request. `path` is below the version; `url` is where the version is, as clients know it.

    `token` is the caller's, `subject` the id of the one that is asked about.
    """

    method: str
    path: str
    search: str = ""
    body: bytes = b""
    token: Token | None = None
    subject: str = ""
    address: str = ""
    url: str = ""
    segments: tuple[str, ...] = field(init=False)
    query: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.segments = tuple(unquote(part) for part in self.path.strip("/").split("/"))
        self.query = parse_qsl(self.search, keep_blank_values=True)

    @property
    def caller(self) -> Token:
        """The caller's token. Raises Unauthorized where there is none."""
        if self.token is None:
            raise Unauthorized(AUTHENTICATION_REQUIRED)
        return self.token

    @property
    def is_admin(self) -> bool:
        """Whether the caller has the role admin on the token's project."""
        return "admin" in self.caller.roles

    def need_admin(self, action: str, *, unless: bool = False) -> None:
        """Refuse all but administrators. Raises Unauthorized, Forbidden."""
        if not self.is_admin and not unless:
            raise refused(action)

    def one(self, name: str) -> str | None:
        """The last value of a parameter."""
        return next((value for key, value in reversed(self.query) if key == name), None)

    def on(self, name: str) -> bool:
        """Whether a switch is given, and not as off."""
        value = self.one(name)
        return value is not None and value.lower() not in _OFF

    def read(self, type_: type[T]) -> T:
        """Give the body. Raises BadRequest."""
        try:
            return msgspec.json.decode(self.body or b"{}", type=type_)
        except msgspec.ValidationError as error:
            raise _invalid(error) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadRequest("Malformed JSON in request body.") from error

    def read_one(self, name: str, type_: type[T]) -> tuple[T, dict[str, Any]]:
        """Give the fields of the one thing in the body, and what it has beyond them. Raises BadRequest."""
        envelope = self.read(dict[str, Any])
        given = envelope.get(name)
        if not isinstance(given, dict):
            raise BadRequest(f"'{name}' is a required property")
        known = msgspec.structs.fields(type_)  # type: ignore[arg-type]
        names = {one.encode_name for one in known}
        try:
            fields = msgspec.convert(given, type_)
        except msgspec.ValidationError as error:
            raise _invalid(error, name) from error
        return fields, {key: value for key, value in given.items() if key not in names}

    def listed(
        self, plural: str, records: Sequence[Mapping[str, Any]], filters: Sequence[str] = ()
    ) -> Answer:
        """Answer a list: those that the filters of the query leave, in pages where `limit` is given."""
        wanted = [(key, value) for key, value in self.query if key in filters]
        found = [one for one in records if all(_matches(one.get(key), value) for key, value in wanted)]
        following = None
        if (marker := self.one("marker")) is not None:
            at = next((place for place, one in enumerate(found) if one.get("id") == marker), None)
            if at is None:
                raise NotFound(f"Marker {marker} could not be found.")
            found = found[at + 1 :]
        limit = self.one("limit") or ""
        if limit.isdecimal() and limit.isascii() and 0 < int(limit[:9]) < len(found):
            found = found[: int(limit[:9])]
            kept = [pair for pair in self.query if pair[0] != "marker"]
            following = f"{self.link(*self.segments)}?{urlencode([*kept, ('marker', found[-1]['id'])])}"
        links = {"next": following, "self": self.link(*self.segments), "previous": None}
        return Answer(body={plural: found, "links": links})

    def link(self, *segments: str) -> str:
        """Give the URL of a resource."""
        return "/".join((self.url, *segments))

    def shown(self, plural: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record with the link to itself."""
        return {**record, "links": {"self": self.link(plural, record["id"])}}


def refused(action: str) -> Forbidden:
    """Keystone's word for what the caller's roles do not allow."""
    return Forbidden(f"You are not authorized to perform the requested action: {action}.")


def _invalid(error: msgspec.ValidationError, *at: str) -> BadRequest:
    message, _, place = str(error).partition(" - at `$")
    field = "/".join((*at, *place.rstrip("`").lstrip(".").split(".")))
    return BadRequest(f"Invalid input for field '{field}': {message}")


def _matches(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return value == (wanted.lower() not in _OFF)
    return str(value).casefold() == wanted.casefold()
