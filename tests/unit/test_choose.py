"""Where a create goes, and why; what cannot be served together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.choose import Candidate, Choice, Reason, Thing, Want, choose
from atoll.core.errors import BadRequest, Conflict, SiteUnavailable

SITES = [Candidate(site="paris"), Candidate(site="tokyo"), Candidate(site="rome")]
ZONES = {"paris": "paris", "asia": "tokyo", "rome": "rome"}


def thing(resource: str, name: str, *sites: str) -> Thing:
    return Thing(resource=resource, id=name, sites=frozenset(sites))


def want(*named: Thing, zone: str | None = None, service: str = "compute") -> Want:
    return Want(resource="server", service=service, zone=zone, zones=ZONES, named=named)


def texts(choice: Choice, site: str) -> list[str]:
    return [f"{reason.rule}: {reason.text}" for reason in choice.reasons if reason.site == site]


def test_without_any_facts_the_first_site_is_chosen():
    assert choose(want(), SITES).site == "paris"


def test_the_zone_decides():
    choice = choose(want(zone="asia"), SITES)
    assert choice.site == "tokyo"
    assert texts(choice, "paris") == ["availability_zone: availability zone asia is not there"]


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("compute", "The requested availability zone is not available"),
        ("block-storage", "Availability zone 'mars' is invalid."),
    ],
)
def test_an_unknown_zone_is_refused_in_the_words_of_the_service(service, message):
    with pytest.raises(BadRequest) as caught:
        choose(want(zone="mars", service=service), SITES)
    assert str(caught.value) == message


def test_it_goes_where_everything_named_is():
    named = [thing("image", "cirros", "paris", "tokyo"), thing("network", "n1", "tokyo", "rome")]
    assert choose(want(*named), SITES).site == "tokyo"


def test_what_is_in_different_sites_is_a_conflict_that_names_all_of_it():
    with pytest.raises(Conflict) as caught:
        choose(
            want(thing("volume", "v1", "paris"), thing("network", "n1", "rome", "tokyo"), zone="asia"), SITES
        )
    assert str(caught.value) == (
        "No site can take the server: availability zone asia is in tokyo; volume v1 is in paris; "
        "network n1 is in rome and tokyo."
    )


def test_what_no_site_has_is_a_bad_request():
    with pytest.raises(BadRequest, match=r"^Security group ABC could not be found\.$"):
        choose(want(thing("security_group", "ABC")), SITES)


def test_sites_that_are_away_or_take_nothing_are_passed_over():
    sites = [
        Candidate(site="paris", state="draining"),
        Candidate(site="tokyo", healthy=False, away="connection refused"),
        Candidate(site="rome"),
    ]
    choice = choose(want(), sites)
    assert choice.site == "rome"
    assert texts(choice, "paris") == ["state: is draining and takes nothing new"]
    assert texts(choice, "tokyo") == ["state: is away (connection refused)"]


def test_when_all_that_could_are_away_each_is_named():
    sites = [
        Candidate(site="paris", state="maintenance"),
        Candidate(site="tokyo", healthy=False, away="timeout"),
        Candidate(site="rome"),
    ]
    with pytest.raises(SiteUnavailable) as caught:
        choose(want(thing("network", "n1", "paris", "tokyo")), sites)
    assert str(caught.value) == (
        "No site can take the server now: site paris is in maintenance; site tokyo is away (timeout). "
        "Nothing was created."
    )


def test_a_project_stays_together():
    sites = [Candidate(site="paris"), Candidate(site="tokyo", placed_of_project=1, load=500)]
    assert choose(want(), sites).site == "tokyo"


def test_a_project_with_things_at_several_sites_goes_on_where_most_are():
    sites = [
        Candidate(site="paris", placed_of_project=100, load=9),
        Candidate(site="tokyo", placed_of_project=1, load=8),
    ]
    choice = choose(want(), sites)
    assert choice.site == "paris"
    assert texts(choice, "paris") == [
        "together: the project has 100 resources there",
        "spread: took 9 of what was made lately",
        "chosen: 10.00 points, the most",
    ]


def test_where_the_last_thing_went_counts_more_than_where_most_are():
    sites = [Candidate(site="paris", placed_of_project=100), Candidate(site="tokyo", home=True, load=500)]
    choice = choose(want(), sites)
    assert choice.site == "tokyo"
    assert texts(choice, "paris")[0] == "together: the project's last thing went elsewhere"
    assert texts(choice, "tokyo")[0] == "together: the project's last thing went there"


@pytest.mark.parametrize(
    ("loads", "site", "why"),
    [
        ((0, 0), "tokyo", "the last project began there"),
        ((0, 40), "tokyo", "the last project began there"),
        ((0, 42), "paris", "the last project began there, but it took 21 more than its share"),
        ((4800, 5200), "tokyo", "the last project began there"),
        ((4798, 5202), "paris", "the last project began there, but it took 202 more than its share"),
    ],
)
def test_a_project_begins_where_the_last_one_did_while_that_took_about_its_share(loads, site, why):
    sites = [Candidate(site="paris", load=loads[0]), Candidate(site="tokyo", load=loads[1], follow=True)]
    choice = choose(want(), sites)
    assert choice.site == site
    assert f"follow: {why}" in texts(choice, "tokyo")


def test_a_closed_site_is_not_followed():
    sites = [Candidate(site="paris"), Candidate(site="tokyo", state="draining", follow=True)]
    assert choose(want(), sites).site == "paris"


def test_a_project_with_a_home_follows_no_other():
    sites = [Candidate(site="paris", home=True, load=40), Candidate(site="tokyo", follow=True)]
    assert choose(want(), sites).site == "paris"


def test_a_tie_goes_to_the_one_chosen_longest_ago_then_to_site_order():
    sites = [
        Candidate(site="paris", last_chosen=5),
        Candidate(site="tokyo", last_chosen=3),
        Candidate(site="rome", last_chosen=3),
    ]
    choice = choose(want(), sites)
    assert choice.site == "tokyo"
    said = "chosen: 1.00 points, as paris and rome, and comes first in the configuration"
    assert texts(choice, "tokyo")[-1] == said


@pytest.mark.parametrize(
    ("sites", "why"),
    [
        ([Candidate(site="paris")], "no other is left"),
        ([Candidate(site="paris"), Candidate(site="tokyo", state="draining")], "no other is left"),
        ([Candidate(site="paris", load=1), Candidate(site="tokyo", load=2)], "0.50 points, the most"),
        (
            [Candidate(site="paris", last_chosen=1), Candidate(site="tokyo", last_chosen=2)],
            "1.00 points, as tokyo, and was chosen longest ago",
        ),
        (SITES, "1.00 points, as tokyo and rome, and comes first in the configuration"),
    ],
)
def test_what_decided_is_the_last_reason(sites, why):
    last = choose(want(), sites).reasons[-1]
    assert (last.site, last.rule, last.text) == ("paris", "chosen", why)


def test_what_was_considered_is_known_where_nothing_can_be_chosen():
    considered: list[Reason] = []
    with pytest.raises(SiteUnavailable):
        choose(want(zone="asia"), [SITES[0], Candidate(site="tokyo", healthy=False)], considered)
    assert [str(reason) for reason in considered] == [
        "paris: availability zone asia is not there",
        "tokyo: is away",
    ]


FACTS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 1.0, 2.0]), st.booleans())


@given(st.lists(FACTS, min_size=1, max_size=6))
def test_the_same_facts_give_the_same_site_and_it_is_open(facts):
    sites = [
        Candidate(site=f"s{n}", placed_of_project=a, load=b, last_chosen=c, healthy=d)
        for n, (a, b, c, d) in enumerate(facts)
    ]
    healthy = {site.site for site in sites if site.healthy}
    if not healthy:
        with pytest.raises(SiteUnavailable):
            choose(want(), sites)
        return
    first = choose(want(), sites)
    assert first == choose(want(), sites)
    assert first.site in healthy
    assert {reason.site for reason in first.reasons} == {site.site for site in sites}


def test_an_unsteady_site_is_taken_only_where_nothing_else_will_do():
    candidates = [Candidate(site="paris", unsteady="it came and went", home=True), Candidate(site="tokyo")]
    choice = choose(want(), candidates)
    assert choice.site == "tokyo"
    assert texts(choice, "paris") == ["unsteady: is unsteady (it came and went)"]
    assert choose(want(zone="paris"), candidates).site == "paris"
    away = [candidates[0], Candidate(site="tokyo", healthy=False)]
    assert choose(want(), away).site == "paris"


@pytest.mark.parametrize("state", ["draining", "maintenance"])
def test_the_operators_reason_is_told(state):
    candidates = [Candidate(site="paris", state=state, state_reason="new racks")]
    with pytest.raises(SiteUnavailable, match="new racks"):
        choose(want(), candidates)
