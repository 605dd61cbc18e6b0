"""Quota arithmetic: what is written, divided and read again is what was written."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.core.sums import PER_OBJECT, TOTALS, combine, divided, integer

SERVICES = sorted(TOTALS)
limits = st.integers(min_value=-1, max_value=2**31 - 1)


@given(st.data(), st.sampled_from(SERVICES), st.integers(min_value=1, max_value=1000))
def test_what_is_written_is_read_again(data, service, sites):
    quota = data.draw(st.dictionaries(st.sampled_from(sorted(TOTALS[service] | PER_OBJECT[service])), limits))
    shares = divided(service, quota, sites)
    assert len(shares) == sites
    assert combine([{"quota_set": share} for share in shares]) == {"quota_set": quota}


@given(st.sampled_from(SERVICES), st.integers(min_value=0, max_value=2**31), st.integers(1, 100))
def test_totals_are_even_and_the_rest_goes_to_the_first(service, total, sites):
    key = min(TOTALS[service])
    shares = [share[key] for share in divided(service, {key: total}, sites)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


@given(st.integers(min_value=-1, max_value=10**6))
def test_numbers_that_come_as_text_stay_text(number):
    shares = divided("compute", {"cores": str(number)}, 3)
    assert all(isinstance(share["cores"], str) for share in shares)
    whole = [{"cores": int(share["cores"])} for share in shares]
    assert combine(whole)["cores"] == number


def test_what_is_no_number_is_for_every_site():
    quota = {"force": True, "cores": "many", "ram": None, "instances": 1.5}
    assert divided("compute", quota, 2) == [quota, quota]
    assert integer(True) is None
    assert integer("9" * 40) is None


def test_minus_one_is_no_limit_among_limits_and_a_number_among_figures():
    assert combine([{"quota_set": {"cores": -1}}, {"quota_set": {"cores": 5}}])["quota_set"]["cores"] == -1
    shares = [{"hypervisor_statistics": {"free_disk_gb": free}} for free in (-1, 10)]
    assert combine(shares)["hypervisor_statistics"]["free_disk_gb"] == 9


def test_the_reports_of_one_project_are_one():
    def share(project, hours, server):
        report = {"tenant_id": project, "total_hours": hours, "server_usages": [{"instance_id": server}]}
        return {"tenant_usages": [{**report, "start": "s", "stop": "e"}]}

    combined = combine([share("p", 1.5, "a"), share("p", 2.0, "b"), share("q", 1.0, "c")])
    assert [(one["tenant_id"], one["total_hours"]) for one in combined["tenant_usages"]] == [
        ("p", 3.5),
        ("q", 1.0),
    ]
    assert [one["instance_id"] for one in combined["tenant_usages"][0]["server_usages"]] == ["a", "b"]


def test_per_object_limits_take_the_minimum_also_in_details():
    shares = [{"quota_set": {"key_pairs": {"limit": limit, "in_use": 0}}} for limit in (100, 50)]
    assert combine(shares)["quota_set"]["key_pairs"] == {"limit": 50, "in_use": 0}
