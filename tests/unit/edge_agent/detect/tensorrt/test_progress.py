from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.detect.tensorrt.progress import ProgressShare

phase_names = st.sampled_from("abc")
events = st.one_of(
    st.tuples(st.just("start"), phase_names, st.none() | phase_names, st.integers(-1, 9)),
    st.tuples(st.just("step"), phase_names, st.integers(-1, 9)),
    st.tuples(st.just("finish"), phase_names),
)


@given(st.lists(events, max_size=40))
def test_a_share_never_falls_whatever_is_reported(reported: list[tuple[object, ...]]) -> None:
    progress, last = ProgressShare(), 0.0
    for verb, *arguments in reported:
        getattr(progress, str(verb))(*arguments)
        assert last <= progress.share <= 1
        last = progress.share


def test_an_inner_phase_fills_a_step_of_the_outer() -> None:
    progress = ProgressShare()
    shares = []
    progress.start("build", None, 4)
    progress.step("build", 0)
    shares.append(progress.share)
    progress.start("time", "build", 2)
    progress.step("time", 0)
    shares.append(progress.share)
    progress.finish("time")
    shares.append(progress.share)
    progress.step("build", 2)
    progress.finish("build")
    assert [*shares, progress.share] == [0.25, 0.375, 0.5, 1.0]
