"""A device, its hub and all that befalls them, from one seed.

The updates are the agent's own (`Slots` with everything below it) on real files; what they
speak to is simulated, and so are the clock, the disk's failures and the deaths.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from edge_agent.config import Limits
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.errors import DetectorError
from edge_agent.store import Store
from edge_agent.update.prove import Proof
from edge_agent.update.requests import FOLDER, Kind, Request
from edge_agent.update.shadow import Judgement
from edge_agent.update.standing import trial
from edge_agent.update.states import Committed, Outcome, UpdateRecord, committed_name, record_name
from edge_agent.update.turned import Turned
from protocol.messages import Desired, MaintenanceWindow, ShadowPolicy, SlotDesired
from protocol.states import ExecutionEvent, Verdict
from tests.simulation.update.bundles import Quality, SimulatedBundle
from tests.simulation.update.disk import Died, Disk
from tests.simulation.update.life import SLOT, Life
from tests.simulation.update.ports import Detector, Network, Outbox

WALL_S = 1_800_000_000.0
YEAR_S = 365 * 86_400.0
HOURLY = MaintenanceWindow(cron="0 * * * *", duration_s=1200.0, time_zone="Europe/Berlin")
LIMITS = Limits(
    probation_starts_max=1000,
    update_stores_max=1000,
    memory_free_bytes_min=0,
    disk_free_bytes_min=0,
    chunk_stall_s=2.0,
    http_fallback_after_s=30.0,
    retry_cap_s=10.0,
)
"""Caps on attempts are for a device that nothing kills from outside; here everything does."""


class World:
    """One seed's device. `step` lets something happen, `check` says what must hold then."""

    def __init__(self, seed: int, bundles: Sequence[SimulatedBundle], folder: Path) -> None:
        self.rng = Random(seed)
        self.limits = LIMITS.model_copy(
            update={
                "bundles_kept_max": self.rng.choice([0, 2, 4]),
                "boot_starts_max": self.rng.choice([3, 1000]),
            }
        )
        self.data, self._vault = folder / "data", folder / "vault"
        self.bundles = {bundle.digest: bundle for bundle in bundles}
        blobs = {sha: pieces for bundle in bundles for sha, pieces in bundle.blobs.items()}
        self.network = Network(self.rng, blobs)
        self.outbox = Outbox()
        self.now, self._jumped_s = 1000.0, 0.0
        self.desired: Desired | None = None
        self.attempts = self.generation = 0
        self.proven: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.trace: list[str] = []
        self.said: list[SlotDesired] = []
        self.left: dict[int, int] = {}
        self.rotten: set[str] = set()
        self.life: Life | None = None
        self.kind = True
        self.died_in: Counter[str] = Counter()
        self._read_at: tuple[Life | None, int] = (None, -1)
        self._read: tuple[Committed | None, UpdateRecord | None] = (None, None)
        for name in ("state", "outbox", "bundles", "partial", FOLDER):
            (self.data / name).mkdir(parents=True)

    # ---- the world around --------------------------------------------------------------

    @property
    def wall(self) -> float:
        return WALL_S + self.now + self._jumped_s

    def jump(self, seconds: float) -> None:
        self._jumped_s += seconds

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def on_disk(self) -> tuple[Committed | None, UpdateRecord | None]:
        """What the slot serves after a restart and where its attempt stands, by the disk."""
        at = (self.life, -1 if self.life is None else self.life.disk.changes)
        if self.life is None or at != self._read_at:
            store = Store(self.data)
            committed = store.load(committed_name(SLOT), Committed)
            self._read = (committed, store.load(record_name(SLOT), UpdateRecord))
            self._read_at = at
        return self._read

    # ---- lives -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a life; one that dies in its first breath is followed by the next."""
        on_trial = trial(self.on_disk()[1])
        disk = Disk(self._vault)
        if self.kind is False and self.rng.random() < 0.5:
            disk.die_after(self.rng.randint(1, 400))
        self.life = Life(self, disk)
        self.count("starts")
        self.act(Life.begin)
        current = None if self.life is None else self.life.slot.current()
        assert current is None or current.digest != on_trial, "on trial, and served after a start"

    def act(self, action: Callable[[Life], object]) -> None:
        """Let the process do something; it may die of it."""
        life = self.life
        if life is None:
            return
        try:
            action(life)
        except Died:
            self.kill()

    def kill(self) -> None:
        """The process ends at once, with or without the power."""
        life, self.life = self.life, None
        if life is None:
            return
        power = self.rng.random() < 0.5
        life.disk.end(power_cut=power)
        life.bury()
        _, record = self.on_disk()
        self.died_in["nothing" if record is None else record.state.value] += 1
        self.count("power cuts" if power else "kills")
        self.note("power cut" if power else "killed")

    def stop(self) -> None:
        """The process ends as it is asked to."""
        self.act(Life.stop)
        if self.life is not None:
            self.life.disk.end(power_cut=False)
            self.life = None

    def note(self, text: str) -> None:
        self.trace.append(f"{self.now:9.1f}  {text}")

    # ---- what is desired ---------------------------------------------------------------

    def desire(self, digest: str | None, **policies: Any) -> None:
        """The hub desires a new attempt of a bundle, or nothing any more."""
        slots = {}
        if digest is not None:
            self.attempts += 1
            bundle = self.bundles[digest]
            slots[SLOT] = SlotDesired(
                bundle_digest=digest,
                manifest_bytes=bundle.manifest_bytes,
                model=bundle.manifest.model,
                version=bundle.manifest.version,
                rollout_id="r",
                attempt=self.attempts,
                probation_s=self.rng.choice([0.0, 5.0, 60.0]),
                **policies,
            )
        self.say(slots)

    def say(self, slots: dict[str, SlotDesired]) -> None:
        """A new generation; the device hears of it where it can."""
        self.generation += 1
        self.desired = Desired(device_id="d", generation=self.generation, slots=slots)
        wanted = slots.get(SLOT)
        if wanted is not None:
            self.said.append(wanted)
        self.note(f"desired: {'nothing' if wanted is None else self.words(wanted)}")
        self.tell_desired()

    def words(self, wanted: SlotDesired) -> str:
        quality = self.bundles[wanted.bundle_digest].quality.name
        extras = [n for n in ("hold", "shadow", "window") if getattr(wanted, n)]
        return f"{wanted.attempt} v{wanted.version} {quality} {' '.join(extras)}"

    def tell_desired(self) -> None:
        if self.network.up and self.life is not None and self.desired is not None:
            self.life.inbox.append(self.desired)

    def policies(self) -> dict[str, Any]:
        """Whatever a rollout may ask for."""
        chance = self.rng.random
        return {
            "hold": chance() < 0.2,
            "shadow": ShadowPolicy(duration_max_s=120) if chance() < 0.3 else None,
            "window": HOURLY if chance() < 0.3 else None,
            "timeout_s": self.rng.choice([None, None, 1800.0]),
        }

    def ask(self, kind: Kind) -> None:
        """A person at the device asks for something."""
        number = f"{self.rng.getrandbits(128):032x}"
        for_s = self.rng.choice([60.0, 600.0]) if kind == "hold" else 0.0
        request = Request(
            id=number,
            kind=kind,
            slot=SLOT,
            asked_at=self.wall,
            for_s=for_s,
            force=self.rng.random() < 0.3,
        )
        self.note(f"asked at the device: {kind}")
        folder = self.data / FOLDER  # it is another process that writes there, by another disk
        if folder.is_dir():
            (folder / f"{kind}-{SLOT}.json").write_text(request.model_dump_json())

    def alert(self, name: str, _text: str) -> None:
        """Stands for the alerts."""
        self.count(f"alert {name}")

    def turned(self, disk: Disk, turn: Turned) -> bool:
        """Stands for the word of who took over; of a bundle that a person left its last attempt
        is left."""
        before = len(self.outbox.turns)
        if not self.outbox.turn(disk, turn):
            return False
        if len(self.outbox.turns) > before:
            self.count(f"alert {turn.alert}")
            of = [r.attempt for _, r in self.outbox.events if r.bundle_digest == turn.left]
            if turn.by_hand and of:
                self.left.setdefault(of[-1], len(self.outbox.events))
        return True

    def rot(self) -> None:
        """A byte of a bundle on the disk turns over."""
        files = sorted((self.data / "bundles").glob("[0-9a-f]*/model*"))
        if files:
            path = self.rng.choice(files)
            raw = bytearray(path.read_bytes())
            raw[0] ^= 1
            with path.open("r+b") as file:  # in place, as rot comes: whoever shares it has it too
                file.write(raw)
            self.rotten.add(path.parent.name)

    # ---- what the agent calls instead of the real thing ---------------------------------

    def load(self, _folder: Path, digest: str, _options: Any) -> LoadedBundle:
        """Stands for `load_bundle`."""
        bundle, life = self.bundles[digest], self.life
        assert life is not None
        life.disk.step()
        if bundle.quality is Quality.UNLOADABLE:
            raise DetectorError("the runtime cannot load it (simulated)")
        detector = Detector()
        life.detectors.append((digest, detector))
        return LoadedBundle(digest, bundle.manifest, detector)

    def prove(self, folder: Path, digest: str, *_more: Any, **_named: Any) -> Proof:
        """Stands for `run_proof`."""
        assert (folder / "manifest.json").exists()
        if self.bundles[digest].quality is Quality.REFUSED:
            return Proof(False, "golden frames (simulated)", {})
        self.proven.add(digest)
        return Proof(True, "", {"proof_memory_bytes": 1000.0})

    def decide(self, _digest: str) -> Outcome:
        """Stands for `Deriving.decide`: now and then an engine is to be compiled first."""
        builds = self.rng.random() < 0.3
        return Outcome(ExecutionEvent.BUILD_STARTED if builds else ExecutionEvent.PROOF_STARTED)

    def judge_shadow(self, _policy: ShadowPolicy, candidate: LoadedBundle) -> Judgement:
        """Stands for the verdict of a shadow."""
        if self.bundles[candidate.digest].quality is Quality.SHADOW_FAILS:
            return Judgement(Verdict.FAIL, "it disagrees (simulated)", {})
        verdict = self.rng.choice([Verdict.PASS, Verdict.INCONCLUSIVE])
        return Judgement(verdict, "by chance (simulated)", {})

    def judge_probation(
        self,
        _seen: Any,
        _figures: Any,
        _baseline: Any,
        elapsed_s: float,
        probation_s: float,
        *_: Any,
        **_more: Any,
    ) -> Outcome | None:
        """Stands for the verdict of probation."""
        current = None if self.life is None else self.life.slot.current()
        if elapsed_s < probation_s or current is None:
            return None
        if self.bundles[current.digest].quality is Quality.TRIAL_FAILS:
            return Outcome(ExecutionEvent.ROLLBACK_STARTED, "it is bad in service (simulated)")
        return Outcome()

    def fault_point(self, _name: str) -> None:
        """Stands for `faults.point`: now and then an error or a death, while times are hard."""
        if self.kind or self.life is None:
            return
        self.life.disk.step()
        if self.rng.random() < 0.03:
            raise OSError(5, "made at a fault point (simulated)")

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put all stand-ins where the agent looks for the real thing."""
        update = "edge_agent.update"
        stand_ins: dict[str, Any] = {
            f"{update}.load.load_bundle": self.load,
            f"{update}.load.quiet": contextlib.nullcontext,
            f"{update}.proving.run_proof": self.prove,
            f"{update}.deriving.Deriving.decide": self.decide,
            f"{update}.deriving.Deriving.build": lambda *_: Outcome(),
            f"{update}.comparing.judge": self.judge_shadow,
            f"{update}.watch.judge_probation": self.judge_probation,
            "edge_agent.faults.point": self.fault_point,
        }
        with contextlib.ExitStack() as stack:
            for target, stand_in in stand_ins.items():
                stack.enter_context(patch(target, stand_in))
            try:
                yield
            finally:
                self.kill()
