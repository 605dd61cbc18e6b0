"""How services say that a quota is used up, in the words of release 2026.2, and what else they refuse."""

import pytest

from atoll.gateway.placed import USED_UP

USED = [
    "Quota exceeded for instances: Requested 1, but already used 3 of 3 instances",
    "Quota exceeded, too many server groups.",
    "Maximum number of ports exceeded",
    "IP allocation over quota in pool public.",
    "VolumeLimitExceeded: Maximum number of volumes allowed (1) exceeded for quota 'volumes'.",
    "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes_fast quota.",
    "BackupLimitExceeded: Maximum number of backups allowed (2) exceeded",
    "Quota exceeded for resources: ['network'].",
    "Per-project subnet pool prefix quota exceeded.",
    "Project p is over a limit for [Resource image_count_total is over limit of 1 due to current usage 1]",
    "Quota has been met for resources: Load Balancer",
]
OTHER = [
    "Policy doesn't allow os_compute_api:servers:create to be performed.",
    "Maximum number of metadata items exceeds 128",
    "VolumeSizeExceedsLimit: Requested volume size 20G is larger than maximum allowed limit 10G.",
    "Unable to complete operation for network x. The subnet overlaps with another.",
    "Quota could not be found",
    "Request is too large.",
]


@pytest.mark.parametrize("text", USED)
def test_a_quota_that_is_used_up(text: str) -> None:
    assert USED_UP.search(text.encode())


@pytest.mark.parametrize("text", OTHER)
def test_what_another_site_would_refuse_too(text: str) -> None:
    assert not USED_UP.search(text.encode())
