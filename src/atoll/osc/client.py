"""Atoll's own API over a session of keystoneauth."""

from collections.abc import Mapping
from typing import Any

from keystoneauth1.exceptions import EndpointNotFound
from osc_lib.exceptions import CommandError


class Client:
    """Reads Atoll's own API, found in the catalogue."""

    def __init__(self, session: Any, *, region_name: str | None, interface: str) -> None:
        self._session = session
        self._filter = {"service_type": "atoll", "interface": interface, "region_name": region_name}

    def get(self, path: str, **query: object) -> Mapping[str, Any]:
        """Give the JSON at a path. Raises CommandError where this cloud is no Atoll, and keystoneauth's."""
        params = {key: value for key, value in query.items() if value is not None}
        try:
            answer = self._session.get(path, endpoint_filter=self._filter, params=params)
        except EndpointNotFound as error:
            raise CommandError("This cloud is not an Atoll: its catalogue has no service `atoll`.") from error
        content: Mapping[str, Any] = answer.json()
        return content
