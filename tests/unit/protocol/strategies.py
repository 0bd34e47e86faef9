"""Hypothesis strategies for the protocol's values."""

from __future__ import annotations

from hypothesis import strategies as st

from protocol.histograms import confidence_histogram
from protocol.topics import PATTERNS, Kind, Topic
from protocol.windows import ClassStats, WindowStats

device_ids = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
filenames = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,40}\Z")
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
indexes = st.integers(0, 9_999_999)


@st.composite
def topics(draw: st.DrawFn) -> Topic:
    """Any valid topic, with exactly the parts of its kind."""
    kind = draw(st.sampled_from(Kind))
    template = PATTERNS[kind].template
    return Topic(
        kind,
        device_id=draw(device_ids) if "{device_id}" in template else "",
        sha256=draw(digests) if "{sha256}" in template else "",
        index=draw(indexes) if "{index}" in template else -1,
        filename=draw(filenames) if "{filename}" in template else "",
    )


histograms = st.lists(st.floats(-0.5, 1.5, allow_nan=False), max_size=30).map(
    lambda values: confidence_histogram().add(values)
)


@st.composite
def windows(draw: st.DrawFn) -> WindowStats:
    """A window with dyadic sums, so that float addition is exact in any order."""
    counts = st.integers(0, 1000)
    return WindowStats(
        frames_captured=draw(counts),
        frames_inferred=draw(counts),
        frames_dropped=draw(st.dictionaries(st.sampled_from(["error", "superseded"]), counts)),
        empty_frames=draw(counts),
        served_confidence_sum=draw(counts) / 4,
        classes=draw(
            st.dictionaries(
                st.integers(0, 5),
                st.builds(ClassStats, confidence=histograms, served=counts),
                max_size=4,
            )
        ),
    )
