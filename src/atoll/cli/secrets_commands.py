"""`atoll secrets`: the keys that secrets are kept under. Works on the store, not on a running gateway."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from atoll.cli.files import config_option, read_config
from atoll.core.errors import AtollError
from atoll.core.settings import Config
from atoll.store import Ledger, Store

T = TypeVar("T")


@click.group()
def secrets() -> None:
    """The keys that credentials, and what is secret in runs, are kept under.

    \b
    A key:         atoll secrets new-key --file /etc/atoll/key
                   and in atoll.toml: [secrets] key = "file:/etc/atoll/key"
    To change it:  a second file, key = ["file:NEW", "file:OLD"], restart every gateway
                   atoll secrets rotate
    """  # noqa: D301 - click wants the character, not the two letters


@secrets.command("new-key")
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, mode 0600.")
def make_key(file: Path | None) -> None:
    """Make a key. Without --file it is printed: for an environment variable."""
    from atoll.trust.sealing import new_key  # noqa: PLC0415 - only this needs it

    if file is None:
        click.echo(new_key())
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise click.ClickException(f"{file} is there already: a key is never written over") from error
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(new_key() + "\n")
    click.echo(f'{file} is written. In the configuration: [secrets] key = "file:{file.absolute()}"')


@secrets.command()
@config_option
def rotate(config_path: str) -> None:
    """Put everything under the newest key; gateways must have been started with it.

    Afterwards the older keys are not needed any more, unless it says so.
    """
    from atoll.gateway.built_in import SealedKeys  # noqa: PLC0415 - slow to import
    from atoll.identity.keys import reseal as reseal_tokens  # noqa: PLC0415
    from atoll.trust.rotation import Resealed, reseal, reseal_runs  # noqa: PLC0415
    from atoll.trust.run_secrets import RunSecrets  # noqa: PLC0415
    from atoll.trust.sealing import Sealer, SecretsError, read_key  # noqa: PLC0415

    settings = read_config(config_path)
    try:
        keys = [read_key(one, os.environ) for one in settings.secrets.key]
        sealer = Sealer(keys)
        newest = sealer.newest

        def work(ledger: Ledger) -> tuple[int, int]:
            return reseal(ledger, sealer), reseal_tokens(ledger, SealedKeys(sealer))

        async def change(store: Store) -> tuple[tuple[int, int], Resealed]:
            first = await store.intent.change(work)
            return first, await reseal_runs(store.sealed_values, RunSecrets(keys, settings.store.url))

        (credentials, tokens), resealed = _in_store(settings, change)
    except SecretsError as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"{credentials} credentials, {tokens} token keys, {resealed.runs} runs and {resealed.points} "
        f"recovery points were put under the key {newest}."
    )
    for under, count in sorted(resealed.left.items()):
        click.echo(
            f"{count} runs or recovery points stay under the key {under}, which is not there: name it in "
            "[secrets] key and do this again, or `atoll secrets forget` it.",
            err=True,
        )


@secrets.command()
@config_option
@click.argument("fingerprint")
@click.confirmation_option(prompt="What is under this key is removed for good. Go on?")
def forget(config_path: str, fingerprint: str) -> None:
    """Remove what is under a key that is lost, by its FINGERPRINT.

    Credentials are removed. Servers that are made of a recovery point lack the user_data that was under it.
    Runs stay as they are: one that needs it can be cancelled, and asked for anew.
    """
    from atoll.trust.rotation import forget as forgotten  # noqa: PLC0415 - slow to import
    from atoll.trust.rotation import forget_points  # noqa: PLC0415

    async def change(store: Store) -> tuple[int, int, int]:
        count = await store.intent.change(lambda ledger: forgotten(ledger, fingerprint))
        points = await forget_points(store.sealed_values, fingerprint)
        return count, points, await store.sealed_values.open_runs(fingerprint)

    credentials, points, runs = _in_store(read_config(config_path), change)
    click.echo(f"{credentials} credentials were removed.")
    if points:
        click.echo(f"{points} recovery points have no user_data any more.")
    if runs:
        click.echo(
            f"{runs} runs that have not ended have something under it: those that park can only be cancelled "
            "(atoll run list --state parked, atoll run cancel RUN)."
        )


def _in_store(settings: Config, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do something with the store of a configuration."""
    from atoll.store import StoreError, open_store  # noqa: PLC0415 - slow to import

    async def change() -> T:
        store = await open_store(settings.store.url)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(change())
    except (StoreError, AtollError) as error:
        raise click.ClickException(str(error)) from error
