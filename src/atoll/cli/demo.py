"""`atoll demo`: three clouds, one endpoint, and what happens when one of them goes away."""
import click


@click.command()
def demo() -> None:
    """Show it."""
