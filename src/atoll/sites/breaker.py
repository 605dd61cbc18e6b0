"""A circuit breaker per site: a site that does not answer is not asked again and again."""

from dataclasses import dataclass

from atoll.core.jitter import JITTER

# Failures in a row before the circuit opens: one lost connection is the network's, three are the site's.
FAILURES = 3
# Seconds to the first probe, doubled with each failed probe up to the bound, jittered against herds.
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0


@dataclass(slots=True)
class Breaker:
    """Closed, open, or half-open with one probe under way. Times are loop seconds.

    `closed` is all the request path looks at while things go well.
    """

    closed: bool = True
    reason: str = ""
    since: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    probing: bool = False
    waits: int = 0

    def admits(self, now: float) -> bool:
        """Whether a request may go out now; an open breaker admits one probe after its wait."""
        if self.closed:
            return True
        if self.probing or now < self.retry_at:
            return False
        self.probing = True
        return True

    def succeeded(self) -> bool:
        """Record an answer; True when this closed an open breaker."""
        self.failures = 0
        if self.closed:
            return False
        self.closed, self.probing, self.waits, self.reason = True, False, 0, ""
        return True

    def failed(self, now: float, reason: str) -> bool:
        """Record that no answer came; True when this opened the breaker."""
        self.failures += 1
        opened = self.closed and self.failures >= FAILURES
        if opened:
            self.closed, self.since = False, now
        if not self.closed:
            self.reason = reason
            self.probing = False
            wait = min(FIRST_WAIT * 2**self.waits, LONGEST_WAIT)
            self.waits += 1
            self.retry_at = now + wait * JITTER.uniform(0.8, 1.2)
        return opened
