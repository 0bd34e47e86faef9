from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.observe.hardware import (
    CPU_FLAGS_OF_NOTE,
    capabilities,
    cpu_flags_of_note,
    cpu_name,
)
from protocol.builds import VNNI_FLAGS, match
from tests.fixtures.seeing import manifest


def test_this_machine_runs_the_builds_that_it_says_it_runs() -> None:
    me = capabilities()
    assert match(manifest().build, me).fits
    assert me.memory_bytes is not None
    newer = manifest().build.model_copy(update={"opset": 99})
    assert not match(newer, me).fits


X86 = """processor\t: 0
model name\t: Some Processor
flags\t\t: fpu avx2 avx512_vnni sse

processor\t: 1
flags\t\t: fpu
"""
ARM = """processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes asimdhp asimddp
CPU part\t: 0xd42
"""


@pytest.mark.parametrize(
    ("text", "flags"),
    [(X86, ("avx2", "avx512_vnni")), (ARM, ("asimd", "asimdhp", "asimddp"))],
)
def test_flags_are_read_on_intel_and_on_arm(
    text: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(text)
    assert cpu_flags_of_note(cpuinfo) == flags
    assert (cpu_name(cpuinfo) == "Some Processor") is (text is X86)


def test_every_flag_that_a_build_may_need_is_reported() -> None:
    assert set(VNNI_FLAGS) <= set(CPU_FLAGS_OF_NOTE)
