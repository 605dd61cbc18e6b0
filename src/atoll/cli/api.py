"""Atoll's own API for commands: which gateway, by whose token, and a refusal as a sentence.

A command takes `@gateway_options` and makes an `Api` of what they give.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from atoll.cli.files import DEFAULT

F = TypeVar("F", bound=Callable[..., Any])

PREFIX = "/atoll/v1"
SECONDS = 120.0  # a check asks a site a dozen times
QUIET_SECONDS = 60.0  # a stream says something every quarter of that


def gateway_options(command: F) -> F:
    """Add `--url` and `--os-cloud`, given to the command as `url` and `os_cloud`."""
    command = click.option(
        "--os-cloud", envvar="OS_CLOUD",
        help="The entry of clouds.yaml to log in by (or OS_CLOUD); else OS_TOKEN, else the OS_… variables.",
    )(command)  # fmt: skip
    return click.option(
        "--url", envvar="ATOLL_URL",
        help="Where the gateway is (or ATOLL_URL). Default: as atoll.toml here says, else the catalogue.",
    )(command)  # fmt: skip


class Api:
    """The own API of a running gateway."""

    def __init__(self, url: str | None, os_cloud: str | None) -> None:
        self._session = _session(os_cloud)
        self._url = url or _url_of(self._session)

    def get(self, path: str, /, **query: object) -> Mapping[str, Any]:
        """Give what is at a path below /atoll/v1. Raises ClickException."""
        return self.call("GET", path, query=query)

    def all(self, path: str, plural: str, /, **query: object) -> Iterator[Mapping[str, Any]]:
        """Give every item of a list, page by page. Raises ClickException."""
        marker = None
        while True:
            page = self.get(path, marker=marker, **query)
            yield from page[plural]
            marker = page.get("next")
            if marker is None:
                return

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, object] | None = None,
    ) -> Mapping[str, Any]:
        """Send a request; the answer's content, `{}` for none. Raises ClickException with a refusal."""
        from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - slow to import

        params = {key: value for key, value in (query or {}).items() if value not in {None, ""}}
        try:
            answer = self._session.request(
                f"{self._url}{PREFIX}{path}", method, json=body, params=params, raise_exc=False,
                timeout=SECONDS,
            )  # fmt: skip
        except ClientException as error:
            raise click.ClickException(str(error)) from error
        if answer.status_code < 400:
            content: Mapping[str, Any] = answer.json() if answer.content else {}
            return content
        raise click.ClickException(_said(answer))

    def lines(self, path: str, headers: Mapping[str, str]) -> Iterator[str]:
        """Give the lines of an answer that goes on, as they come.

        Raises ClickException with a refusal, ConnectionError where the gateway is away, or ends.
        """
        from keystoneauth1.exceptions import ClientException, RetriableConnectionFailure  # noqa: PLC0415

        try:
            answer = self._session.get(
                f"{self._url}{PREFIX}{path}", headers=dict(headers), stream=True, raise_exc=False,
                timeout=QUIET_SECONDS,
            )  # fmt: skip
        except RetriableConnectionFailure as error:
            raise ConnectionError(str(error)) from error
        except ClientException as error:
            raise click.ClickException(str(error)) from error
        if answer.status_code == 429 or answer.status_code >= 500:
            raise ConnectionError(_said(answer))
        if answer.status_code >= 400:
            raise click.ClickException(_said(answer))
        yield from _cut(answer)


def _cut(answer: Any) -> Iterator[str]:
    """The lines of an answer as they come. Raises ConnectionError where it is cut."""
    from requests.exceptions import RequestException  # noqa: PLC0415 - slow to import

    try:
        with answer:
            for line in answer.iter_lines(chunk_size=None):
                yield line.decode("utf-8", "replace")
    except RequestException as error:
        raise ConnectionError(str(error)) from error


def _said(answer: Any) -> str:
    try:
        return " ".join(one["detail"] for one in answer.json()["errors"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered {answer.status_code}: {answer.text[:200]}"


def _session(os_cloud: str | None) -> Any:
    """A session that sends the caller's token. Raises ClickException."""
    token = os.environ.get("OS_TOKEN")
    if token and not os_cloud:
        from keystoneauth1.session import Session  # noqa: PLC0415 - slow to import
        from keystoneauth1.token_endpoint import Token  # noqa: PLC0415

        return Session(Token(None, token))
    import openstack  # noqa: PLC0415 - slow to import
    from keystoneauth1.exceptions import ClientException  # noqa: PLC0415
    from openstack.exceptions import SDKException  # noqa: PLC0415

    try:
        return openstack.connect(cloud=os_cloud).session
    except (SDKException, ClientException) as error:
        raise click.ClickException(
            f"cannot log in: {str(error).rstrip('.')}. --os-cloud (or OS_CLOUD) names an entry of "
            "clouds.yaml, OS_TOKEN holds a token."
        ) from error


def _url_of(session: Any) -> str:
    """Where the gateway is: the file here says it, else the catalogue of whoever logged in."""
    if Path(os.environ.get("ATOLL_CONFIG", DEFAULT)).is_file():
        from atoll.cli.files import read_config  # noqa: PLC0415 - only where there is one

        return read_config(os.environ.get("ATOLL_CONFIG", DEFAULT)).gateway.public_url
    from keystoneauth1.exceptions import ClientException, EndpointNotFound  # noqa: PLC0415 - slow to import

    try:
        url = session.get_endpoint(service_type="atoll", interface="public")
    except EndpointNotFound:
        url = None
    except ClientException as error:
        raise click.ClickException(f"cannot log in: {error}") from error
    if not url:
        raise click.ClickException(
            "the cloud that this logs in at has no Atoll in its catalogue: --os-cloud (or OS_CLOUD) names an "
            "entry of one that has, as `atoll serve --clouds` writes it; or --url (ATOLL_URL) says it"
        )
    return str(url).removesuffix("/").removesuffix(PREFIX)
