"""The selector language: what is read, what is meant by it, what is refused and where."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.errors import InvalidError
from cloud.fleet import selectors
from cloud.fleet.selectors import GROUP, Selector, Term, fits, groups_named, parse, text_of

TEXTS = st.one_of(
    st.sampled_from(["site", "line", "a", "b", "in", "notin", "hall 2", 'say "hi"', "\\", ""]),
    st.text(max_size=8),
)
KEYS = TEXTS.filter(lambda key: key != GROUP)
TERMS = st.builds(Term, key=KEYS, wanted=st.booleans(), values=st.frozensets(TEXTS, max_size=3))
SELECTORS = st.lists(TERMS, max_size=5).map(tuple)
DEVICES = st.dictionaries(TEXTS, TEXTS, max_size=4)
OSAKA = {"site": "osaka", "device": "box-1", "line": "a", "hall": "2"}


@settings(deadline=None)
@given(selector=SELECTORS)
def test_what_is_written_is_read_back(selector: Selector) -> None:
    assert parse(text_of(selector)) == selector


@settings(deadline=None)
@given(selector=SELECTORS, device=DEVICES)
def test_all_terms_hold_and_a_term_turned_round_holds_for_the_others(
    selector: Selector, device: dict[str, str]
) -> None:
    def oracle(term: Term) -> bool:
        there = device.get(term.key)
        holds = there in term.values if term.values else there is not None
        return holds if term.wanted else not holds

    assert fits(selector, device) == all(map(oracle, selector))
    for term in selector:
        turned = Term(term.key, not term.wanted, term.values)
        assert fits((term,), device) != fits((turned,), device)


@settings(deadline=None)
@given(text=st.text(alphabet='ab=!,() "\\inot', max_size=20))
def test_any_text_is_read_or_refused_with_the_field(text: str) -> None:
    try:
        found = parse(text, "waves.3.selector")
    except InvalidError as error:
        assert error.message.startswith("waves.3.selector: ")
        assert error.remedy
    else:
        assert parse(text_of(found)) == found


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", True),
        ("site=osaka", True),
        ("site==osaka,line=a", True),
        ("site=osaka , line in ( a , b )", True),
        ("line notin (a,b)", False),
        ("line!=b", True),
        ("shift!=night", True),
        ("shift notin (night)", True),
        ("shift", False),
        ("!shift", True),
        ("!line", False),
        ('hall="2"', True),
        ("device=box-1", True),
        ("device in (box-2)", False),
        ("in in (in)", False),
    ],
)
def test_terms_are_read_as_kubernetes_reads_them(text: str, meant: bool) -> None:
    assert fits(parse(text), OSAKA) is meant


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("site=osaka,,line=a", "cannot be read at ',line=a'"),
        ("line in", "cannot be read at the end"),
        ("line in ()", "cannot be read at ')'"),
        ("a=b=c", "cannot be read at '=c'"),
        ('a="b', "cannot be read at '\"b'"),
        ("a=b c", "cannot be read at 'c'"),
        ("!a=b", "cannot be read at '=b'"),
        ("ä=b", "cannot be read at 'ä=b'"),
        ("group", "it speaks of groups and names none"),
        ("!group", "it speaks of groups and names none"),
        (",".join(["a"] * 65), "more than 64 terms"),
        (f"a in ({','.join(map(str, range(1001)))})", "1000 values in one"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_place(text: str, place: str) -> None:
    with pytest.raises(InvalidError) as refused:
        parse(text)
    assert place in refused.value.message
    assert refused.value.remedy


def test_groups_stand_for_what_their_selectors_name_now() -> None:
    groups = {"pilot": parse("line=a"), "night": parse("shift=night")}
    assert fits(parse("group=pilot"), OSAKA, groups)
    assert fits(parse("group in (pilot,night)"), OSAKA, groups)
    assert not fits(parse("group=night"), OSAKA, groups)
    assert fits(parse("group!=night,site=osaka"), OSAKA, groups)
    assert not fits(parse("group=gone"), OSAKA, groups)
    assert fits(parse("group notin (gone)"), OSAKA, groups)
    assert groups_named(parse("group in (pilot,night),!x")) == {"pilot", "night"}
    assert groups_named(parse("line=a")) == frozenset()


def test_the_hubs_own_keys_are_those_that_are_documented() -> None:
    assert selectors.HUB_KEYS == ("site", "device", "group")
