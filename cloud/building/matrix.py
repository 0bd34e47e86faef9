"""The job that makes a matrix of builds: target after target, each registered when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cloud.building.choosing import choose_artifact
from cloud.building.making import Artifact, Base, Maker, base_target, is_base, label
from cloud.building.pipeline import measure
from cloud.building.registering import keep, register
from cloud.building.remote import through
from cloud.building.source import Known, base_of, known, parse_all, source_of, standing_base
from cloud.building.targets import BuildTarget
from cloud.building.worker_desk import Desk
from cloud.building.workshop import MadeBuild, Order, Source, Workshop, as_it_is, golden_items
from cloud.children import ChildFailed
from cloud.errors import HubError, InvalidError
from cloud.evaluation import perturbed
from cloud.evaluation.running import Runs
from cloud.evaluation.tolerance import accuracy_warnings
from cloud.jobs.context import JobContext
from cloud.registry import verdicts
from cloud.registry.models import Build
from cloud.registry.service import OnBuildRegistered
from cloud.registry.states import BuildState
from cloud.settings import BuildingSettings
from cloud.shipped import BundleRefused, ShippedRunner
from protocol.builds import BuildIdentity

KIND, KIND_GPU = "build", "build-gpu"
"""A job that waits for a GPU worker must not hold up those that need none."""

ADMITTED, REJECTED, FAILED, THERE = "ADMITTED", "REJECTED", "FAILED", "THERE"
REFUSED = "the file is refused"


@dataclass(frozen=True)
class MatrixBuilder:
    """The handler of jobs of the kinds `build` and `build-gpu`.

    Parameters of such a job: model, number, targets; `robustness` and `again` (also what is
    there already); `files`: path in the bundle to a blob's digest, of an artifact that was
    made elsewhere for the one target; it is evaluated whatever is there already.

    Attributes:
        desk: where GPU workers take what needs them; None: GPU targets fail.
    """

    settings: BuildingSettings
    hooks: Sequence[OnBuildRegistered] = ()
    agent: ShippedRunner = field(default_factory=ShippedRunner)
    desk: Desk | None = None

    def __call__(self, context: JobContext) -> Mapping[str, Any]:
        """Raises InvalidError where not one target could be made; ChildFailed where a child was
        cut off and another attempt is left, which finds what was registered THERE."""
        asked = context.job.parameters
        with context.database.reading() as session:
            found = known(session, context.store, asked["model"], asked["number"])
        targets = parse_all(asked["targets"], found.side_px())
        source = source_of(found, context.store, context.folder / "golden")
        work = _Work(self, context, found, source, workshop(self, context))
        rows = [work.row(target, number, len(targets)) for number, target in enumerate(targets)]
        if work.cut_off and context.job.attempt < context.job.attempts_max:
            raise ChildFailed("; ".join(work.cut_off))
        if all(row["outcome"] == FAILED for row in rows):
            raise InvalidError("; ".join(f"{r['target']}: {r['reasons'][0]}" for r in rows))
        return {"builds": rows}


def workshop(builder: MatrixBuilder, context: JobContext) -> Workshop:
    """Where a job's builds are made."""
    maker: Maker = Maker(
        context.folder / "made",
        lambda command, environment, on_poll: context.child(
            command, environment=environment, on_poll=on_poll
        ),
        tell=context.progress,
    )
    agent = replace(builder.agent, canceled=context.canceled)
    if builder.desk is not None:
        maker, agent = through(builder.desk, maker, agent)
    return Workshop(
        folder=context.folder / "builds",
        runs=Runs(context.store, agent),
        maker=maker,
        settings=builder.settings,
        tell=context.progress,
    )


@dataclass
class _Work:
    """One job at work: bases are kept for the targets of the same input."""

    builder: MatrixBuilder
    context: JobContext
    found: Known
    source: Source
    shop: Workshop
    bases: dict[str, tuple[Base, Mapping[str, Any]]] = field(default_factory=dict)
    cut_off: list[str] = field(default_factory=list)

    def row(self, target: BuildTarget, number: int, total: int) -> dict[str, Any]:
        """What became of a target; what a user can mend, or a child that failed, ends only it."""
        self.context.log(f"{number + 1} of {total}: {target}")
        try:
            there = self.found.build_of(target)
            asked = self.context.job.parameters
            # A file that was brought is another one than what is there: it is always looked at.
            if there is not None and not asked.get("again") and not asked.get("files"):
                return _row_of(target, there, THERE)
            build, made = self._make(target)
        except (HubError, ChildFailed) as error:
            self.context.log(f"{target}: {error}")
            why = str(error)
            if isinstance(error, BundleRefused):
                why = f"{REFUSED}: {error.fault}"
            elif isinstance(error, ChildFailed):
                self.cut_off.append(f"{target}: {error}")
            return {"target": str(target), "outcome": FAILED, "reasons": [why]}
        outcome = REJECTED if build.state == BuildState.REJECTED.value else ADMITTED
        for reason in made.verdict.reasons:
            self.context.log(f"{target}: {reason}")
        return _row_of(target, build, outcome)

    def _make(self, target: BuildTarget) -> tuple[Build, MadeBuild]:
        if not target.on_cpu and self.builder.desk is None:
            raise InvalidError(
                f"{target.name} needs a GPU, and no worker is listened to here",
                "ask the running hub for it",
            )
        self._spoil()
        base, baseline = self._base(target)
        tried: dict[str, Any] = {}
        brought = self.context.job.parameters.get("files")
        if brought:
            artifact = self._brought(brought, base)
        else:
            artifact, tried = choose_artifact(self.source, target, base, self.shop)
        order = Order(target, artifact, base, None if is_base(target) else baseline, bool(brought))
        made = measure(self.source, order, self.shop)
        made.notes.update({"tried": tried} if tried else {})
        return self._register(made), made

    def _spoil(self) -> None:
        """Have spoiled golden images, from the first target on that is really made."""
        if self.shop.perturbed is None and self.context.job.parameters.get("robustness", True):
            spoiled = _perturbed(self.context, self.source, self.builder.settings)
            self.shop = replace(self.shop, perturbed=spoiled)

    def _base(self, target: BuildTarget) -> tuple[Base, Mapping[str, Any]]:
        """The fp32 file of the target's input and its metrics; made and registered first
        where there is none."""
        wanted = base_target(target)
        key = str(wanted)
        if key in self.bases:
            return self.bases[key]
        there = standing_base(self.found, target)
        again = is_base(target) and self.context.job.parameters.get("again")
        if there is not None and not again:
            self.bases[key] = base_of(there, self.context.store), there.metrics
            return self.bases[key]
        source = self.source
        base = self.shop.maker.base(
            wanted, source.weights, source.weights_format, source.class_names, source.frames
        )
        if is_base(target):
            self.bases[key] = base, {}
            return self.bases[key]
        made = measure(source, Order(wanted, as_it_is(base), base), self.shop)
        self._register(made)
        if not made.verdict.admitted:
            raise InvalidError(
                f"its {label(wanted)} was rejected: {'; '.join(made.verdict.reasons)}",
                "train again, or build for another input size",
            )
        self.bases[key] = base, made.metrics
        return self.bases[key]

    def _brought(self, files: Mapping[str, str], base: Base) -> Artifact:
        paths = {path: self.context.store.path(digest) for path, digest in files.items()}
        notes = {"brought_by": self.context.job.created_by}
        return Artifact(paths, base.opset, notes, head=base.head)

    def _register(self, made: MadeBuild) -> Build:
        self.context.check()
        kept = keep(self.context.store, made)
        with self.context.database.transaction() as session:
            return register(session, self.found.version, made, kept, self.builder.hooks)


def _row_of(target: BuildTarget, build: Build, outcome: str) -> dict[str, Any]:
    metrics = build.metrics
    return {
        "target": str(target),
        "build": BuildIdentity.model_validate(build.identity).label(),
        "digest": build.digest,
        "outcome": outcome,
        "stands": verdicts.outcome(build.state),
        "by_hand": build.verdict.get(verdicts.BY_HAND),
        "map50": metrics.get("map50"),
        "map50_95": metrics.get("map50_95"),
        "latency_ms_median": metrics.get("latency_ms_median"),
        "fps": metrics.get("fps"),
        "size_bytes": build.size_bytes,
        "robustness": (metrics.get("robustness") or {}).get("relative"),
        "reasons": build.verdict.get("reasons", []),
        "warnings": accuracy_warnings(build.verdict),
    }


def _perturbed(
    context: JobContext, source: Source, settings: BuildingSettings
) -> perturbed.Perturbed | None:
    """The spoiled golden images that all builds of the job are looked at with."""
    items = golden_items(source.dataset)
    chosen = perturbed.choose(items, settings.robustness_images_max, settings.robustness_seed)
    if not chosen:
        return None
    folder = context.folder / "perturbed"
    shutil.rmtree(folder, ignore_errors=True)  # of a child that failed for an earlier target
    return perturbed.make(chosen, context, folder, settings.robustness_seed)
