"""What is kept under keys, put under the newest one or forgotten."""

import msgspec

from atoll.store import Ledger
from atoll.trust.records import CredentialRecord
from atoll.trust.sealing import Sealer


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
