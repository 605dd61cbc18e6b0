"""What sites show becomes one thing, once, under an id that stays; properties over any layout."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.same.compare import MOST_OF_USERS, Seen, Thing, compared, flavor, image, near_misses
from atoll.same.records import SameRecord
from atoll.same.table import Table, Who

SITES = ("paris", "tokyo", "oslo")
ANYBODY = Who("p")

# A site: its flavors by id, each a (name, content). Few values, so that ids and names meet.
layouts = st.dictionaries(
    st.sampled_from(SITES),
    st.dictionaries(st.sampled_from("1234"), st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))),
    min_size=1,
)


def things(layout: dict[str, dict[str, tuple[str, str]]]) -> list[Thing]:
    """What a layout shows."""
    return [
        Thing(site, ident, name, "", content, {"ram": content})
        for site, one in layout.items()
        for ident, (name, content) in one.items()
    ]


def after(
    known: list[SameRecord], layout: dict[str, dict[str, tuple[str, str]]], resource: str
) -> list[SameRecord]:
    """The records after all of a layout was seen."""
    seen = Seen(
        resource=resource, things=things(layout), whole={(site, "") for site in layout}, order=SITES, now=1.0
    )  # fmt: skip
    puts, drops = compared(known, seen)
    kept = {one.key: one for one in known if one.key not in drops}
    return list((kept | {one.key: one for one in puts}).values())


@given(layouts)
def test_every_flavor_has_one_id_and_the_way_back_leads_to_it(layout) -> None:
    table = Table(after([], layout, "flavor"))
    shown: dict[str, tuple[str, str]] = {}
    for one in things(layout):
        group = table.of_site("flavor", one.site, one.id, ANYBODY)
        if group is None:  # a site has two that are alike: the second is its own
            continue
        assert table.at("flavor", group.id, one.site, ANYBODY) == one.id
        assert shown.setdefault(group.id, (one.name, one.content)) == (one.name, one.content)
    assert len(shown) == len({(one.name, one.content) for one in things(layout)})


# A site: its volume types by name, each an id that no other site has; what came before, and what came then.
types = st.dictionaries(
    st.sampled_from(SITES), st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12345")), max_size=3
)


@given(types, types, st.booleans())
def test_any_id_of_a_volume_type_leads_to_the_one_of_its_name(before, now, whole) -> None:
    known: list[SameRecord] = []
    for layout in (before, now):
        shown = [
            Thing(site, f"{site}-{number}-{name}", name, "", "", {})
            for site, some in layout.items()
            for name, number in some.items()
        ]
        seen = Seen(
            resource="volume_type", things=shown, order=SITES, now=1.0,
            whole={(site, "") for site in SITES} if whole else (),
        )  # fmt: skip
        puts, drops = compared(known, seen)
        kept = {one.key: one for one in known if one.key not in drops}
        known = list((kept | {one.key: one for one in puts}).values())
    table = Table(known)
    for one in shown:
        for other in (other for other in shown if other.name == one.name):
            assert table.at("volume_type", one.id, other.site, ANYBODY) == other.id
        group = table.group("volume_type", one.id, ANYBODY)
        assert group is not None
        assert table.named("volume_type", one.name) == group.id
    if whole:
        assert {(site, ident) for one in known for site, ident in one.ids.items()} == {
            (one.site, one.id) for one in shown
        }


def test_a_volume_type_that_is_renamed_keeps_its_id_and_one_made_anew_has_another() -> None:
    def after_seeing(known: list[SameRecord], **names: str) -> list[SameRecord]:
        shown = [Thing(ident[0], ident, name, "", "", {}) for ident, name in names.items()]
        puts, drops = compared(
            known, Seen(resource="volume_type", things=shown, whole=(), order="pt", now=1.0)
        )
        kept = {one.key: one for one in known if one.key not in drops}
        return list((kept | {one.key: one for one in puts}).values())

    known = after_seeing([], p1="fast", t1="fast")
    known = after_seeing(known, p1="quick", t1="quick")
    assert [(one.id, one.name, one.ids) for one in known] == [("p1", "quick", {"p": "p1", "t": "t1"})]
    known = after_seeing(known, p2="quick", t2="quick")
    assert [(one.id, one.ids) for one in known] == [("p2", {"p": "p2", "t": "t2"})]


@given(layouts)
def test_an_id_never_leads_to_what_is_not_the_same(layout) -> None:
    for resource in ("flavor", "image"):
        table = Table(after([], layout, resource))
        for record in table.records:
            content = {layout[site][ident] for site, ident in record.ids.items()}
            assert len(content) <= 1
            for other in record.foreign:
                here = table.at(resource, record.id, other.site, ANYBODY)
                assert here != other.id or record.ids.get(other.site) == other.id


def test_what_has_anothers_id_is_hidden_until_all_of_its_scope_is_seen_without_it() -> None:
    """It may be of another scope than the one whose id it is, of another project's say."""
    first = Thing("paris", "1", "golden", "project:p", "x", {})
    for scope in ("project:p", "project:q", "public"):
        other = Thing("oslo", "1", "other", scope, "y", {})

        def seen(*shown: Thing, whole: str = "") -> Seen:
            whole_ones = {(site, whole) for site in SITES if whole}
            return Seen(resource="image", things=shown, whole=whole_ones, order=SITES, now=1.0)

        (record,), _ = compared([], seen(first, other))
        assert Table([record]).is_hidden("image", "oslo", "1")
        for elsewhere in {"project:p", "project:q", "public"} - {scope}:
            there = [first] if elsewhere == "project:p" else []
            assert compared([record], seen(*there, whole=elsewhere)) == ([], [])
        puts, drops = compared([record], seen(*([first] if scope == "project:p" else []), whole=scope))
        assert (puts, drops) == ([], [record.key])


def looked(known: list[SameRecord], shown: list[Thing], whole: str) -> list[SameRecord]:
    """The records after all that is in a scope was seen."""
    seen = Seen(
        resource="image", things=shown, whole={(site, whole) for site in SITES}, order=SITES, now=1.0
    )  # fmt: skip
    puts, drops = compared(known, seen)
    kept = {one.key: one for one in known if one.key not in drops}
    return list((kept | {one.key: one for one in puts}).values())


def test_what_is_renamed_keeps_its_id_and_what_is_hidden_for_it() -> None:
    golden = Thing("paris", "X", "golden", "public", "1", {})
    other = Thing("oslo", "X", "left over", "project:p", "2", {})
    known = looked([], [golden, other], "project:p")
    assert Table(known).is_hidden("image", "oslo", "X")
    for again in (golden._replace(name="golden-2"), golden._replace(content="3")):
        for _ in range(2):
            known = looked(known, [again], "public")
            table = Table(known)
            group = table.group("image", "X", ANYBODY)
            assert group is not None
            assert (group.ids, table.is_hidden("image", "paris", "X")) == ({"paris": "X"}, False)
            assert table.is_hidden("image", "oslo", "X")


def test_what_is_gone_hides_only_what_everybody_would_take_for_it() -> None:
    golden = Thing("paris", "X", "golden", "public", "1", {})
    for scope, stays in (("public", True), ("project:p", False)):
        other = Thing("oslo", "X", "golden", scope, "2", {})
        known = looked([], [golden, other], "project:p")
        for _ in range(2):
            known = looked(known, [other], "public")
            assert Table(known).is_hidden("image", "oslo", "X") is stays


def test_each_of_several_that_have_its_ids_is_hidden() -> None:
    one = [Thing("paris", "X", "golden", "public", "1", {}), Thing("oslo", "Y", "golden", "public", "1", {})]
    for order in (["X", "Y"], ["Y", "X"]):
        others = [Thing("tokyo", ident, f"other {ident}", "public", ident, {}) for ident in order]
        table = Table(looked([], [*one, *others], "public"))
        assert [table.is_hidden("image", "tokyo", ident) for ident in order] == [True, True]


@given(layouts)
def test_seeing_the_same_again_changes_nothing(layout) -> None:
    for resource in ("flavor", "image"):
        records = after([], layout, resource)
        assert after(records, layout, resource) == records


@given(layouts, layouts)
def test_what_a_site_that_is_away_had_is_kept(layout, later) -> None:
    records = after([], layout, "flavor")
    away = {site for site in layout if site not in later}
    table = Table(after(records, later, "flavor"))
    for record in records:
        for site, ident in record.ids.items():
            if site in away:
                assert table.of_site("flavor", site, ident, ANYBODY) is not None


@given(layouts, st.permutations(SITES))
def test_the_id_stays_when_sites_join(layout, order) -> None:
    records: list[SameRecord] = []
    seen: list[dict[tuple[str, str], str]] = []
    for at in range(len(order)):
        part = {site: layout[site] for site in order[: at + 1] if site in layout}
        if not part:
            continue
        records = after(records, part, "flavor")
        seen.append({(one.name, one.content): one.id for one in records})
    for before, now in pairwise(seen):
        assert before.items() <= now.items()


def test_a_flavor_with_other_specs_is_a_near_miss_in_words() -> None:
    records = after(
        [], {"paris": {"1": ("m1.small", "2048")}, "tokyo": {"9": ("m1.small", "4096")}}, "flavor"
    )
    (miss,) = near_misses(records)
    assert miss["reason"] == "flavor m1.small: paris has 2048 MB ram, tokyo 4096 MB ram"


def test_what_is_renamed_everywhere_keeps_its_id() -> None:
    before = after([], {"tokyo": {"1": ("a", "x")}}, "flavor")
    before = after(before, {"paris": {"2": ("a", "x")}, "tokyo": {"1": ("a", "x")}}, "flavor")
    (record,) = after(before, {"paris": {"2": ("b", "x")}, "tokyo": {"1": ("b", "x")}}, "flavor")
    assert (record.id, record.name, record.ids) == ("1", "b", {"paris": "2", "tokyo": "1"})


def test_the_id_of_an_image_that_was_deleted_does_not_become_anothers() -> None:
    both = {"paris": {"1": ("a", "x")}, "tokyo": {"1": ("a", "y")}}
    records = after([], both, "image")
    records = after(records, {"paris": {}, "tokyo": {"1": ("a", "y")}}, "image")
    assert Table(records).at("image", "1", "tokyo", ANYBODY) is None


def test_a_private_image_is_one_for_its_project_only() -> None:
    shown = {"name": "i", "owner": "p", "visibility": "private", "os_hash_algo": "md5", "os_hash_value": "ff"}
    made = [
        image(site, {"id": ident, **shown}, ours=True) for site, ident in (("paris", "1"), ("tokyo", "2"))
    ]
    found = [one for one in made if one is not None]
    puts, _ = compared([], Seen(resource="image", things=found, whole=(), order=SITES, now=1.0))
    table = Table(puts)
    assert table.at("image", "1", "tokyo", Who("p")) == "2"
    assert table.at("image", "1", "tokyo", Who("other")) == "1"
    assert table.outward("tokyo", "image", "other") is None


def test_a_flavor_that_is_not_public_is_not_compared() -> None:
    assert flavor("paris", {"id": "1", "os-flavor-access:is_public": False, "extra_specs": {}}) is None
    assert flavor("paris", {"id": "1", "os-flavor-access:is_public": True}) is None


def test_users_cannot_fill_the_records() -> None:
    many = [
        Thing(site, f"{site}-{number}", f"i{number}", "community", "x", {})
        for site in SITES
        for number in range(MOST_OF_USERS + 20)
    ]
    puts, _ = compared([], Seen(resource="image", things=many, whole=(), order=SITES, now=1.0))
    assert len(puts) == MOST_OF_USERS
    public = [Thing(site, f"{site}-p", "p", "public", "x", {}) for site in SITES]
    more, _ = compared(puts, Seen(resource="image", things=public, whole=(), order=SITES, now=1.0))
    assert [one.name for one in more] == ["p"]


def offered(site: str, ident: str, *, ours: bool = True, **fields: object) -> Thing:
    """An image as a site shows it: the same name and bytes everywhere."""
    shown = {"id": ident, "name": "cirros", "visibility": "public", "owner": "operator",
             "os_hash_algo": "sha512", "os_hash_value": "ff", **fields}  # fmt: skip
    made = image(site, shown, ours=ours)
    assert made is not None
    return made


def groups(*things: Thing, known: tuple[SameRecord, ...] = ()) -> list[dict[str, str]]:
    """The ids of each thing that has several."""
    puts, drops = compared(known, Seen(resource="image", things=things, whole=(), order=SITES, now=1.0))
    kept = {one.key: one for one in known if one.key not in drops} | {one.key: one for one in puts}
    return [dict(one.ids) for one in kept.values() if len(one.ids) > 1]


def test_public_images_of_one_owner_are_one() -> None:
    assert groups(offered("paris", "1"), offered("tokyo", "2")) == [{"paris": "1", "tokyo": "2"}]


def test_a_public_image_of_another_project_is_never_taken_for_it() -> None:
    squatter = offered("tokyo", "0", owner="squatter")
    assert groups(offered("paris", "1"), squatter) == []
    found = groups(squatter, offered("paris", "1"), offered("tokyo", "2"), offered("oslo", "3"))
    assert found == [{"paris": "1", "tokyo": "2", "oslo": "3"}]
    puts, _ = compared(
        [], Seen(resource="image", things=[offered("paris", "1")], whole=(), order=SITES, now=1.0)
    )
    assert groups(squatter, known=tuple(puts)) == []


def test_the_same_two_in_another_order_are_told_apart_alike() -> None:
    both = (offered("paris", "1"), offered("tokyo", "0", owner="squatter"))
    puts, _ = compared([], Seen(resource="image", things=both, whole=(), order=SITES, now=1.0))
    again = compared(puts, Seen(resource="image", things=both[::-1], whole=(), order=SITES, now=2.0))
    assert again == ([], [])
    (missed,) = near_misses(puts)
    assert "different projects" in missed["reason"]


def test_owners_of_clouds_of_their_own_say_nothing_here() -> None:
    found = groups(offered("paris", "1"), offered("tokyo", "2", ours=False, owner="its operator"))
    assert found == [{"paris": "1", "tokyo": "2"}]


def test_an_image_that_boots_another_kernel_is_another() -> None:
    assert groups(offered("paris", "1"), offered("tokyo", "2", ours=False, kernel_id="k")) == []
    assert groups(offered("paris", "1"), offered("tokyo", "2", ours=False, ramdisk_id="r")) == []


def test_a_community_image_is_one_with_its_own_copies_only() -> None:
    for ours in (True, False):
        one, same_name, copy = (
            offered(site, ident, ours=ours, visibility="community", owner=owner)
            for site, ident, owner in (("paris", "1", "p"), ("tokyo", "2", "p"), ("tokyo", "1", "p"))
        )
        assert groups(one, same_name) == []
        assert groups(one, copy) == [{"paris": "1", "tokyo": "1"}]
        squatter = offered("tokyo", "1", ours=ours, visibility="community", owner="squatter")
        puts, _ = compared([], Seen(resource="image", things=[one, squatter], whole=(), order=SITES, now=1.0))
        assert Table(puts).is_hidden("image", "tokyo", "1")


def test_an_image_shared_with_somebody_is_its_owners_alone() -> None:
    mine, shared = (
        offered(site, ident, visibility="shared", owner=owner)
        for site, ident, owner in (("paris", "1", "p"), ("tokyo", "2", "q"))
    )
    assert groups(mine, shared) == []


def empty(site: str, **fields: object) -> Thing:
    """The same image before its bytes are there."""
    more = {"visibility": "private", "os_hash_algo": None, "os_hash_value": None, **fields}
    return offered(site, "1", **more)  # type: ignore[arg-type] # fields of an image, not `ours`


def full(site: str, value: str = "ff", **fields: object) -> Thing:
    return empty(site, os_hash_algo="sha512", os_hash_value=value, **fields)


def test_copies_without_bytes_are_one_and_stay_one_when_the_bytes_come() -> None:
    (record,), _ = compared([], seen_images(empty("paris"), empty("tokyo")))
    assert (record.id, dict(record.ids)) == ("1", {"paris": "1", "tokyo": "1"})
    (half,), _ = compared([record], seen_images(full("paris")))
    assert (half.key, dict(half.ids)) == (record.key, dict(record.ids))
    assert half.shown["os_hash_value"] == "ff"
    assert compared([half], seen_images(full("paris"), full("tokyo"))) == ([], [])
    assert compared([half], seen_images(full("paris"), empty("tokyo"))) == ([], [])


def test_a_copy_that_comes_to_have_other_bytes_is_hidden() -> None:
    (record,), _ = compared([], seen_images(empty("paris"), empty("tokyo")))
    puts, _ = compared([record], seen_images(full("paris"), full("tokyo", "ee")))
    kept = {one.key: one for one in (record, *puts)}
    assert Table(kept.values()).at("image", "1", "tokyo", Who("operator")) is None


@pytest.mark.parametrize(
    "fields", [{"owner": "stranger"}, {"name": "other"}, {"visibility": "community", "owner": "stranger"}]
)
def test_an_image_without_bytes_is_one_with_nobody_elses(fields: dict[str, object]) -> None:
    mine = {"visibility": "community"} if "visibility" in fields else {}
    assert groups(full("paris", **mine), empty("tokyo", **fields)) == []


def seen_images(*things: Thing) -> Seen:
    return Seen(resource="image", things=things, whole=(), order=SITES, now=1.0)
