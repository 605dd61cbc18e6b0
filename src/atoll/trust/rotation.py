"""What is kept under keys, put under the newest one or forgotten."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from atoll.store import Ledger, SealedValues
from atoll.trust.records import CredentialRecord
from atoll.trust.run_secrets import RunSecrets
from atoll.trust.sealing import Sealer
from atoll.workflow.sealed import unders, without


class Resealed(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs and recovery points were put under the newest key, and what stays under which others."""

    runs: int
    points: int
    left: Mapping[str, int]


def reseal(ledger: Ledger, sealer: Sealer) -> int:
    """Put every credential under the newest key; how many were under others. Raises SecretsError."""
    changed = 0
    for one in ledger.all(CredentialRecord).values():
        if not one.sealed or one.sealed_under == sealer.newest:
            continue
        sealed, under = sealer.seal(sealer.open(one.sealed, one.sealed_under))
        ledger.put(msgspec.structs.replace(one, sealed=sealed, sealed_under=under))
        changed += 1
    return changed


def forget(ledger: Ledger, under: str) -> int:
    """Remove the credentials under a key that is lost; how many."""
    lost = [one for one in ledger.all(CredentialRecord).values() if one.sealed_under == under]
    for one in lost:
        ledger.drop(CredentialRecord, one.id)
    return len(lost)


async def reseal_runs(values: SealedValues, secrets: RunSecrets) -> Resealed:
    """Put what is secret in runs and recovery points under the newest key, but for what no key is there for.

    Raises SecretsError where there is no key at all, `Conflict`, `StoreError`.
    """
    newest, left = secrets.newest, Counter[str]()

    def renewed(value: Any) -> Any:
        found = secrets.renewed(value)
        left.update({*unders(found)} - {newest})
        return found

    runs = await values.change_runs(renewed)
    return Resealed(runs=runs, points=await values.change_points(renewed), left=left)


async def forget_points(values: SealedValues, under: str) -> int:
    """Leave out of recovery points what is under a lost key; of how many. Servers made of them lack it."""
    return await values.change_points(lambda value: without(value, under))
