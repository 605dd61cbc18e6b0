"""Asking many sites at once: what answered and what failed, each by its site.

A site's failure is data; a bug of ours propagates, and so does a refusal that is about no site. The one
deadline is the call's.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from atoll.core.errors import AtollError, Forbidden, SiteUnavailable

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Gathered(Generic[Answer]):
    """What came of a fan-out, by site name, in the order of the question."""

    answered: dict[str, Answer]
    failed: dict[str, AtollError]

    def missing(self) -> dict[str, str]:
        """The reason of each site that did not answer."""
        return {site: str(error) for site, error in self.failed.items()}


async def scatter(questions: Mapping[str, Awaitable[Answer]]) -> Gathered[Answer]:
    """Ask all at once and wait for each; every question carries its own deadline."""
    if not questions:
        return Gathered({}, {})
    if len(questions) == 1:
        ((site, question),) = questions.items()
        try:
            return Gathered({site: await question}, {})
        except AtollError as error:
            if _of_the_caller(error):
                raise
            return Gathered({}, {site: error})
    tasks = {site: asyncio.ensure_future(question) for site, question in questions.items()}
    try:
        await asyncio.wait(tasks.values())
    except asyncio.CancelledError:
        for task in tasks.values():
            task.cancel()
        raise
    answered: dict[str, Answer] = {}
    failed: dict[str, AtollError] = {}
    # All are looked at before one is raised: asyncio tells of those that nobody looked at.
    errors = {site: task.exception() for site, task in tasks.items()}
    for site, went_wrong in errors.items():
        if went_wrong is None:
            answered[site] = tasks[site].result()
        elif isinstance(went_wrong, AtollError) and not _of_the_caller(went_wrong):
            failed[site] = went_wrong
        else:
            raise went_wrong
    return Gathered(answered, failed)


def _of_the_caller(error: AtollError) -> bool:
    """Whether the caller may not ask this at any site."""
    return isinstance(error, Forbidden) and error.site is None


def none_answered(what: str, failed: Mapping[str, AtollError]) -> AtollError:
    """The error for something that cannot be said without the sites that did not answer."""
    sites = ", ".join(failed)
    reasons = " ".join(str(error) for error in failed.values())
    if all(isinstance(error, Forbidden) for error in failed.values()):
        return Forbidden(f"No site can be asked for {what}. {reasons}", site=sites)
    waits = [error.retry_after for error in failed.values() if error.retry_after is not None]
    return SiteUnavailable(
        f"Not all sites could be asked for {what}; missing: {sites}. {reasons}",
        site=sites,
        retry_after=max(waits, default=5),
    )
