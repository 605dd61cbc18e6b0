"""What opens and seals what is secret in plans of runs, and in recovery points.

The keys are those of `[secrets] key`. Where none is set and the store is a file, there is one beside it, made
at the first use: whoever has a copy of the database alone cannot read it. A store that several machines share
has no such place: without a key nothing secret is written there.
"""

import contextlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from atoll.store.opening import sqlite_path
from atoll.trust.sealing import Sealer, SecretsError, new_key, read_key
from atoll.workflow import sealed as forms
from atoll.workflow.outcomes import Withheld

NO_KEY: Final = (
    "[secrets] key is needed for that: what is secret in it (user_data, personality, adminPass) is not "
    "written in clear into a store that is no file of this machine. One for all gateways is made by "
    '`atoll secrets new-key --file PATH`, and named by key = "file:PATH"'
)

_VALUE: Final = "value"


class RunSecrets:
    """The keys of a configuration, newest first, and the one beside the store at `url`."""

    def __init__(self, keys: Sequence[str], url: str) -> None:
        path = sqlite_path(url)
        self._file = Path(f"{path}.key") if path not in {None, ":memory:"} else None
        self._given = [*keys] or ([new_key()] if path == ":memory:" else [])
        self._beside: list[str] = []
        self._seen: tuple[int, int] | None = None
        self._sealer = Sealer(self._given)

    @property
    def newest(self) -> str:
        """The fingerprint of the key that seals. Raises SecretsError."""
        return self._sealing().newest

    def seal(self, value: Any) -> dict[str, list[str]]:
        """Seal a value. Raises SecretsError where there is no key."""
        text, under = self._sealing().seal({_VALUE: value})
        return forms.form(under, text)

    def sealed(self, value: Any) -> Any:
        """Give the same with all sealed that is secret, under the newest key as far as it can be opened.

        Raises SecretsError where there is no key, and something secret.
        """
        return self.renewed(forms.sealed(value, self.seal))

    def open(self, under: str, text: str) -> Any:
        """Open a sealed value. Raises `Withheld`."""
        try:
            return self._opened(under, text)
        except SecretsError as error:
            raise Withheld(str(error)) from error

    def opened(self, value: Any) -> Any:
        """Give the same with all opened. Raises `Withheld`."""
        return forms.changed(value, self.open)

    def renewed(self, value: Any) -> Any:
        """Give the same with all under the newest key, but what is under a key that is not there."""

        def renew(under: str, text: str) -> Any:
            with contextlib.suppress(SecretsError):
                if under != self.newest:
                    return self.seal(self._opened(under, text))
            return forms.form(under, text)

        return forms.changed(value, renew)

    def _opened(self, under: str, text: str) -> Any:
        if not self._sealer.has(under):
            self._look()
        if not self._sealer.has(under):
            raise SecretsError(self._missing(under))
        return self._sealer.open(text, under)[_VALUE]

    def _missing(self, under: str) -> str:
        beside = f", or put it back at {self._file}" if self._file is not None else ""
        return (
            f"what is secret in it is sealed under the key {under}, which is not there: name its file in "
            f"[secrets] key beside the newer ones{beside}, start the gateways anew, and have the run redone"
        )

    def _sealing(self) -> Sealer:
        """What has a key to seal with. Raises SecretsError."""
        if self._given:
            return self._sealer
        if self._file is None:
            raise SecretsError(NO_KEY)
        if not self._file.exists():
            _make(self._file)
        if _stamp(self._file) != self._seen:
            self._look()
        return self._sealer

    def _look(self) -> None:
        """Take in what is beside the store; keys that were there before stay known."""
        if self._file is not None and self._file.exists():
            self._seen = _stamp(self._file)
            found = read_key(f"file:{self._file}", {})
            self._beside = [found, *(one for one in self._beside if one != found)]
            self._sealer = Sealer([*self._given, *self._beside])


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _make(path: Path) -> None:
    """Make a key file, whole or not at all; one that another process has made stays. Raises SecretsError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(new_key() + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise SecretsError(
            f"no key can be made beside the database, at {path} ({error.strerror}): `atoll secrets new-key "
            '--file PATH` makes one elsewhere, named in the configuration: [secrets] key = "file:PATH"'
        ) from error
