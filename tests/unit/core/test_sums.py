"""Quota arithmetic: what is written, divided and read again is what was written."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.core.sums import PER_OBJECT, TOTALS, combine, divided, integer

SERVICES = sorted(TOTALS)
uses = st.integers(min_value=0, max_value=100)
limits = st.integers(min_value=-1, max_value=2**31 - 1)


@given(st.data(), st.sampled_from(SERVICES), st.integers(min_value=1, max_value=1000))
def test_what_is_written_is_read_again(data, service, sites):
    keys = sorted(TOTALS[service] | PER_OBJECT[service])
    quota = data.draw(st.dictionaries(st.sampled_from(keys), limits))
    used = [data.draw(st.dictionaries(st.sampled_from(keys), uses, max_size=3))] + [{}] * (sites - 1)
    shares = divided(service, quota, used, level=data.draw(st.booleans()))
    assert len(shares) == sites
    assert combine([{"quota_set": share} for share in shares]) == {"quota_set": quota}


@given(st.sampled_from(SERVICES), st.integers(min_value=0, max_value=2**31), st.integers(1, 100))
def test_totals_are_even_and_the_rest_goes_to_the_first(service, total, sites):
    key = min(TOTALS[service])
    shares = [share[key] for share in divided(service, {key: total}, [{}] * sites)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


def parts_of(total: int, used: list[int], *, level: bool = False) -> list[int]:
    """What each site gets of a total of cores."""
    return [
        one["cores"]
        for one in divided("compute", {"cores": total}, [{"cores": n} for n in used], level=level)
    ]


@given(st.integers(0, 300), st.lists(uses, min_size=1, max_size=8), st.booleans())
def test_no_site_gets_less_than_it_uses_where_the_total_allows(total, used, level):
    parts = parts_of(total, used, level=level)
    assert sum(parts) == total
    assert min(parts) >= 0
    assert parts == parts_of(total, used, level=level), "the same again"
    if total >= sum(used):
        assert all(part >= floor for part, floor in zip(parts, used, strict=True))
        free = [part - floor for part, floor in zip(parts, used, strict=True)]
        raised = [part for part, room in zip(parts, free, strict=True) if room > 0]
        if level:  # who gets more than it uses gets no more than another, but for the remainder
            assert not raised or max(raised) - min(parts) <= 1
        else:
            assert max(free) - min(free) <= 1
    else:
        assert all(part <= floor for part, floor in zip(parts, used, strict=True))
        lowered = [part for part, floor in zip(parts, used, strict=True) if part < floor]
        assert max(parts) - min(lowered) <= 1, "who uses most is lowered first"


def test_what_each_gets():
    assert parts_of(2, [0, 2]) == [0, 2]
    assert parts_of(10, [0, 6]) == [2, 8]
    assert parts_of(10, [0, 6], level=True) == [4, 6]
    assert parts_of(9, [1, 5, 0], level=True) == [2, 5, 2]
    assert parts_of(5, [0, 10]) == [0, 5], "the site that uses nothing gets nothing, or it would take more"
    assert parts_of(5, [6, 4]) == [3, 2]
    assert parts_of(0, [3, 1]) == [0, 0]
    assert parts_of(-1, [3, 1]) == [-1, -1]
    assert divided("compute", {"key_pairs": 5}, [{"key_pairs": 9}, {}]) == [{"key_pairs": 5}] * 2


@given(st.integers(min_value=-1, max_value=10**6))
def test_numbers_that_come_as_text_stay_text(number):
    shares = divided("compute", {"cores": str(number)}, [{"cores": 2}, {}, {"ram": 7}])
    assert all(isinstance(share["cores"], str) for share in shares)
    whole = [{"cores": int(share["cores"])} for share in shares]
    assert combine(whole)["cores"] == number


def test_what_is_no_number_is_for_every_site():
    quota = {"force": True, "cores": "many", "ram": None, "instances": 1.5}
    assert divided("compute", quota, [{}, {}]) == [quota, quota]
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
