"""`atoll secrets`: the keys that credentials are kept under. Works on the store, not on a running gateway."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import click

from atoll.cli.files import config_option, read_config
from atoll.core.settings import Config
from atoll.store import Ledger


@click.group()
def secrets() -> None:
    """The keys that credentials are kept under.

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

    Afterwards the older keys are not needed any more.
    """
    from atoll.gateway.built_in import SealedKeys  # noqa: PLC0415 - slow to import
    from atoll.identity.keys import reseal as reseal_tokens  # noqa: PLC0415
    from atoll.trust.rotation import reseal  # noqa: PLC0415
    from atoll.trust.sealing import Sealer, SecretsError, read_key  # noqa: PLC0415

    settings = read_config(config_path)
    try:
        sealer = Sealer([read_key(one, os.environ) for one in settings.secrets.key])
        newest = sealer.newest

        def work(ledger: Ledger) -> tuple[int, int]:
            return reseal(ledger, sealer), reseal_tokens(ledger, SealedKeys(sealer))

        credentials, keys = _changed(settings, work)
    except SecretsError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{credentials} credentials and {keys} token keys were put under the key {newest}.")


@secrets.command()
@config_option
@click.argument("fingerprint")
@click.confirmation_option(prompt="The credentials under this key are removed for good. Go on?")
def forget(config_path: str, fingerprint: str) -> None:
    """Remove the credentials under a key that is lost, by its FINGERPRINT."""
    from atoll.trust.rotation import forget as forgotten  # noqa: PLC0415 - slow to import

    count = _changed(read_config(config_path), lambda ledger: (forgotten(ledger, fingerprint), 0))[0]
    click.echo(f"{count} credentials were removed.")


def _changed(settings: Config, work: Callable[[Ledger], tuple[int, int]]) -> tuple[int, int]:
    """Change what is in the store of a configuration."""
    from atoll.store import StoreError, open_store  # noqa: PLC0415 - slow to import

    async def change() -> tuple[int, int]:
        store = await open_store(settings.store.url)
        try:
            return await store.intent.change(work)
        finally:
            await store.close()

    try:
        return asyncio.run(change())
    except StoreError as error:
        raise click.ClickException(str(error)) from error
