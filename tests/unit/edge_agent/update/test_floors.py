"""The lowest version that may serve, as the newest generation said it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.floors import MODELS_MAX, Floors, learned
from protocol.messages import Desired, SlotDesired


def desired(generation: int, **floors: int) -> Desired:
    slots = {
        f"{model}-{number}": SlotDesired(
            bundle_digest="a" * 64, manifest_bytes=1, model=model, version=9, floor=floor
        )
        for number, (model, floor) in enumerate(floors.items())
    }
    return Desired(device_id="d", generation=generation, slots=slots)


def test_the_newest_generation_counts_and_others_stay() -> None:
    known = learned(learned(Floors(), desired(1, a=5, b=2)), desired(3, a=3))
    assert known.by_model() == {"a": 3, "b": 2}
    assert learned(known, desired(2, a=9)).by_model() == {"a": 3, "b": 2}


def test_the_same_again_is_nothing_new() -> None:
    known = learned(Floors(), desired(1, a=5))
    assert learned(known, desired(1, a=5)) is known
    assert learned(known, Desired(device_id="d", generation=9)) is known


def test_of_two_slots_the_higher_floor_counts() -> None:
    both = desired(1, a=2)
    other = desired(1, a=7).slots["a-0"]
    both = both.model_copy(update={"slots": {**both.slots, "second": other}})
    assert learned(Floors(), both).by_model() == {"a": 7}


def test_a_model_that_no_slot_desires_has_a_floor_too() -> None:
    known = learned(Floors(), desired(1, a=2))
    emptied = Desired(device_id="d", generation=2, floors={"a": 4, "b": 3})
    assert learned(known, emptied).by_model() == {"a": 4, "b": 3}
    lowered = desired(3, a=2).model_copy(update={"floors": {"a": 1}})
    assert learned(learned(known, emptied), lowered).by_model() == {"a": 2, "b": 3}


@given(
    st.lists(st.tuples(st.integers(1, 50), st.sampled_from("abc"), st.integers(1, 9)), max_size=30)
)
def test_whatever_the_order_the_last_word_of_the_newest_generation_counts(
    words: list[tuple[int, str, int]],
) -> None:
    known = Floors()
    newest: dict[str, tuple[int, int]] = {}
    for generation, model, floor in words:
        known = learned(known, desired(generation, **{model: floor}))
        if generation >= newest.get(model, (0, 0))[0]:
            newest[model] = (generation, floor)
    assert known.by_model() == {model: floor for model, (_, floor) in newest.items()}


def test_models_are_bounded() -> None:
    known = Floors()
    for number in range(MODELS_MAX + 5):
        known = learned(known, desired(number + 1, **{f"m{number}": 2}))
    assert len(known.models) == MODELS_MAX
    assert "m0" not in known.models
