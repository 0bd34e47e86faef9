"""What a device is told of its models' floors when its slots change. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from protocol.messages import FLOORS_MAX, Desired, SlotDesired


def outliving(
    before: Desired, wanted: Collection[SlotDesired], changed: Mapping[str, int]
) -> dict[str, int]:
    """The floors of models that no slot of `wanted` names, as they were said before or are
    `changed`: a slot that is taken away takes no floor with it. Of too many the newest."""
    said = {slot.model: slot.floor for slot in before.slots.values()}
    named = {slot.model for slot in wanted}
    floors = {**before.floors, **said, **changed}
    left = [(model, floor) for model, floor in floors.items() if model not in named]
    return dict(left[-FLOORS_MAX:])


def not_below(slot: SlotDesired | None, before: Desired) -> SlotDesired | None:
    """The slot with no lower floor than was said of its model before, with a slot or without."""
    if slot is None:
        return None
    said = [other.floor for other in before.slots.values() if other.model == slot.model]
    outlived = before.floors.get(slot.model, 1)
    return slot.model_copy(update={"floor": max([slot.floor, outlived, *said])})
