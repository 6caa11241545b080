"""Votes go out as a table and come back unchanged, once, and only into the project they belong to."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from review import planted
from whichlora.errors import UserError
from whichlora.review.transfer import read_csv, write_csv
from whichlora.review.votes import Extremes, PairVote, Rating, TakenBack, new_id, now, to_row

PLAN = planted.make_plan()
A, B, C = (cell.id for cell in PLAN.cells[:3])


def votes(note="fine"):
    pair = PairVote(new_id(), "Ada", now(), "identity", A, B, "both-bad", "active", 0.25, "", 3.5)
    return [
        pair, Rating(new_id(), "Bob", now(), A, 5, None, ((0.25, 0.5),), note),
        Extremes(new_id(), "Bob", now(), (A, B, C), A, ""), TakenBack(new_id(), "Ada", now(), pair.id),
    ]


def test_a_table_brings_every_vote_back():
    said = votes()
    brought = read_csv(write_csv(PLAN, said), PLAN, [])
    assert list(brought.rows) == [to_row(vote) for vote in said]


def test_bringing_a_table_twice_adds_nothing():
    said = votes()
    text = write_csv(PLAN, said)
    again = read_csv(text, PLAN, read_csv(text, PLAN, []).rows)
    assert again.rows == ()
    assert again.known == len(said)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=60))
def test_any_note_survives_and_none_becomes_a_formula(note):
    said = votes(note)
    text = write_csv(PLAN, said)
    assert read_csv(text, PLAN, []).rows[1].body["note"] == note
    for row in csv.DictReader(io.StringIO(text, newline="")):
        assert not row["note"].startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(("change", "said"), [
    (lambda t: t.replace("both-bad", "left-ish"), "Line 2"), (lambda t: t.replace(",0.25,", ",7,"), "Line 2"),
    (lambda t: t.replace(A, "c1-elsewhere"), "does not plan"), (lambda t: t.replace("pair", "opinion"), "kind"),
    (lambda t: "a,b\n1,2\n", "no column"), (lambda t: "", "no column"),
    (lambda t: t.replace("Bob", "B" * 99), "voter's name"), (lambda t: t.replace(",5,", ",9,"), "1 to 5"),
])
def test_a_spoilt_table_is_refused_whole_with_its_line(change, said):
    with pytest.raises(UserError, match=said):
        read_csv(change(write_csv(PLAN, votes())), PLAN, [])


def test_a_vote_that_was_edited_is_refused():
    said = votes()
    text = write_csv(PLAN, said).replace("both-bad", "left")
    with pytest.raises(UserError, match="another content"):
        read_csv(text, PLAN, [to_row(vote) for vote in said])
