"""The usage audit of several sites is one audit: the hosts and servers of all of them."""

from atoll.core.sums import combine


def report(hosts: int, done: int, errors: int, name: str) -> dict[str, object]:
    return {
        "instance_usage_audit_logs": {
            "period_beginning": "2026-10-01 00:00:00",
            "num_hosts": hosts,
            "num_hosts_done": done,
            "hosts_not_run": [name],
            "total_errors": errors,
            "overall_status": "wrong",
            "log": {name: {"state": "DONE", "errors": errors}},
        }
    }


def test_audits_add_up():
    summed = combine([report(2, 1, 0, "a"), report(3, 3, 1, "b")])["instance_usage_audit_logs"]
    assert summed["period_beginning"] == "2026-10-01 00:00:00"
    assert (summed["num_hosts"], summed["num_hosts_done"], summed["total_errors"]) == (5, 4, 1)
    assert summed["hosts_not_run"] == ["a", "b"]
    assert summed["log"].keys() == {"a", "b"}
    assert summed["overall_status"] == "4 of 5 hosts done. 1 errors."
    whole = combine([report(1, 1, 0, "a"), report(1, 1, 0, "b")])["instance_usage_audit_logs"]
    assert whole["overall_status"] == "ALL hosts done. 0 errors."
