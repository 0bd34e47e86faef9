"""Rules and shelves as agent.toml names them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from edge_agent.rules import zones
from edge_agent.section import Identifier, MisplacedError, PositiveS, Section

ZONE_CORNERS_MAX = 64
NAMES_MAX = 4096
CHANNELS_MAX = 64

Share = Annotated[float, Field(ge=0, le=1)]
ClassName = Annotated[str, Field(min_length=1, max_length=128)]
ClassNames = Annotated[tuple[ClassName, ...], Field(min_length=1, max_length=NAMES_MAX)]
ChannelIds = Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=CHANNELS_MAX)]
Zone = Annotated[tuple[tuple[Share, Share], ...], Field(min_length=3, max_length=ZONE_CORNERS_MAX)]
Anchor = Literal["centre", "bottom"]


class WatchSection(Section):
    """What a rule and a shelf have in common: which detections count, and who is told.

    Attributes:
        channels: who is told, by id.
        confidence_min: of the model's own confidence; absent: what the build serves.
        same_overlap_min: of boxes of one class that overlap (IoU) so much only the most
            confident counts: a model without NMS shows an object twice now and then.
        area_min_share, area_max_share: of the box, as a share of the picture.
        zone: corners of a simple polygon, in shares of the picture's width and height.
        anchor: the point of a box that must lie in the zone: its centre, or the middle of
            its lower edge, where an object stands.
    """

    id: Identifier
    channels: ChannelIds
    confidence_min: Share | None = None
    same_overlap_min: float = Field(default=0.8, gt=0, le=1)
    area_min_share: Share = 0.0
    area_max_share: Share = 1.0
    zone: Zone | None = None
    anchor: Anchor = "centre"

    @field_validator("zone")
    @classmethod
    def _simple(cls, zone: Zone | None) -> Zone | None:
        if zone is not None and (problem := zones.problem(zone)):
            raise ValueError(problem)
        return zone

    @model_validator(mode="after")
    def _some_area(self) -> WatchSection:
        if self.area_min_share > self.area_max_share:
            raise ValueError("area_min_share is over area_max_share, so that nothing can match")
        return self


class RuleSection(WatchSection):
    """Table `[[rules]]`: holds while enough matching detections are in each frame.

    Each camera is judged by itself. While a camera gives no frames, a rule stays as it is.

    Attributes:
        cameras: absent: all.
        classes: names of the model's classes, any of which matches; absent: all.
        count_min: matching detections that a frame needs to fulfil the rule.
        consecutive_frames: such frames in a row until the rule is active.
        clear_frames: other frames in a row until it is active no more.
    """

    cameras: Annotated[tuple[Identifier, ...], Field(min_length=1)] | None = None
    classes: ClassNames | None = None
    count_min: int = Field(default=1, ge=1, le=10_000)
    consecutive_frames: int = Field(default=1, ge=1, le=100_000)
    clear_frames: int = Field(default=1, ge=1, le=100_000)

    def watches(self, camera: str) -> bool:
        return self.cameras is None or camera in self.cameras


class ItemSection(Section):
    """Table `[shelves.items.NAME]`: how many of a class are few.

    Both are compared with what the model sees, so a model that misses much needs low limits.

    Attributes:
        low: at this count and below the item is low.
        out: at this count and below it is out of stock.
    """

    low: int = Field(ge=0, le=10_000)
    out: int = Field(default=0, ge=0, le=10_000)

    @model_validator(mode="after")
    def _ordered(self) -> ItemSection:
        if self.out > self.low:
            raise ValueError(f"out ({self.out}) is over low ({self.low}); exchange them")
        return self


class ShelfSection(WatchSection):
    """Table `[[shelves]]`: counts objects by class in a zone of one camera.

    Attributes:
        items: what belongs here, by class name.
        elsewhere: classes whose objects do not belong here and are reported when seen.
        smooth_s: the span of time that a count is taken over; a change is reported within it.
        frames_min: frames within `smooth_s` without which nothing is said.
        every_s: how often the whole stock is told.
    """

    camera: Identifier
    items: dict[ClassName, ItemSection] = Field(min_length=1, max_length=NAMES_MAX)
    elsewhere: tuple[ClassName, ...] = Field(default=(), max_length=NAMES_MAX)
    smooth_s: float = Field(default=30.0, gt=0, le=3600)
    frames_min: int = Field(default=15, ge=1, le=1000)
    every_s: PositiveS = 60.0

    @model_validator(mode="after")
    def _one_place(self) -> ShelfSection:
        both = sorted(set(self.items) & set(self.elsewhere))
        if both:
            raise ValueError(
                f"{both[0]!r} is in items and in elsewhere; it belongs here or it does not"
            )
        return self


def check_line(
    rules: Sequence[RuleSection],
    shelves: Sequence[ShelfSection],
    cameras: Collection[str],
    channels: Collection[str],
) -> None:
    """Raise MisplacedError where an id is given twice, or one that is named is not there."""
    ids: set[str] = set()
    for table, owner, sections in (("rules", "rule", rules), ("shelves", "shelf", shelves)):
        for index, section in enumerate(sections):
            if section.id in ids:
                raise MisplacedError(
                    (table, index, "id"),
                    f"two rules or shelves are called {section.id!r}; give each its own id",
                )
            ids.add(section.id)
            for what, key, name in _named(section):
                there = cameras if what == "camera" else channels
                if name not in there:
                    raise MisplacedError(
                        (table, index, *key),
                        f"{owner} {section.id!r} names the {what} {name!r}; "
                        f"there are: {', '.join(sorted(there)) or 'none'}",
                    )


def _named(section: WatchSection) -> Iterator[tuple[str, tuple[int | str, ...], str]]:
    """What a rule or shelf names: a camera or channel, the key within its table, the id."""
    if isinstance(section, ShelfSection):
        yield "camera", ("camera",), section.camera
    elif isinstance(section, RuleSection):
        for index, camera in enumerate(section.cameras or ()):
            yield "camera", ("cameras", index), camera
    for index, channel in enumerate(section.channels):
        yield "channel", ("channels", index), channel
