"""What a version looks like on an MLflow server: pure, and hashed so that news are known.

MLflow's bounds that matter here: names of metrics, parameters and tags of letters, digits and
`_-. /` up to 250 characters, values of parameters up to 6000 characters, of tags up to 8000
(of a model version's tags 5000 everywhere); a parameter that is set cannot be changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloud.registry.models import Artefact, Build, ModelVersion
from cloud.registry.verdicts import BY_HAND
from protocol.builds import BuildIdentity

NAME_CHARACTERS_MAX = 250
PARAMETER_CHARACTERS_MAX = 6000
TAG_CHARACTERS_MAX = 5000
KEY_TAG = "argosy.version"
ALIASES_TAG = "argosy.aliases"
LEFT_OUT_TAG = "argosy.artifacts_left_out"
BUILD_TAG = "argosy.build."
FILE_TAG = "argosy.file."
ORIGIN_TAG = "argosy.weights_sha256"
CURVE_FILENAME = "results.csv"
MANIFEST_FILENAME = "manifest.json"

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_\-. /]")
_ALIAS = re.compile(r"^(?!latest$)(?!v\d+$)[A-Za-z0-9_\-]{1,255}$", re.IGNORECASE)


@dataclass(frozen=True)
class MirrorFile:
    """A blob that becomes an artifact of the run, under `path`."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Bounds:
    """How much of a version's files goes to the server, in bytes."""

    file_bytes_max: int
    version_bytes_max: int


@dataclass(frozen=True)
class MirrorContent:
    """All of one version that a server is to hold.

    Attributes:
        key: PREFIX/MODEL/NUMBER, by which a run is found again.
        origin: digest of the weights; tells a run of another hub with the same prefix.
        at_ms: when the version was made, on the hub's clock; also the time of its metrics, so
            that what is sent twice is the same.
        aliases: those that point at the version and that MLflow can hold.
        tags: of the run and of the model version.
    """

    key: str
    origin: str
    experiment: str
    registered_model: str
    run_name: str
    at_ms: int
    parameters: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    aliases: tuple[str, ...]
    files: tuple[MirrorFile, ...]

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "files": [vars(file) for file in self.files]}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> MirrorContent:
        """What `as_json` gave."""
        files = tuple(MirrorFile(**file) for file in values["files"])
        return cls(**{**values, "aliases": tuple(values["aliases"]), "files": files})

    @property
    def sha256(self) -> str:
        """Digest over everything; another one means there is news."""
        data = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(data.encode()).hexdigest()


def content(
    version: ModelVersion,
    builds: Sequence[Build],
    aliases: Iterable[str],
    artefacts: Sequence[Artefact],
    *,
    prefix: str,
    bounds: Bounds,
    build_files: Mapping[str, Sequence[MirrorFile]],
) -> MirrorContent:
    """What a server is to hold of `version`.

    Args:
        aliases: all that point at the version.
        build_files: a build's digest to its files, their paths as in its manifest.
    """
    labels = build_labels(builds)
    all_aliases = sorted(aliases)
    files, left_out = within(_files(builds, labels, artefacts, build_files), bounds)
    tags = {
        KEY_TAG: f"{prefix}/{version.model}/{version.number}",
        ORIGIN_TAG: version.weights_sha256,
        "argosy.number": str(version.number),
        "argosy.source": version.source,
        "argosy.dataset": f"{version.dataset}/{version.dataset_version}",
        "argosy.dataset_digest": version.dataset_digest,
        "argosy.parent": "" if version.parent is None else f"{version.model}/{version.parent}",
        "argosy.created_by": version.created_by,
        "argosy.archived": str(version.archived_at is not None).lower(),
        "argosy.pinned": str(version.pinned).lower(),
        ALIASES_TAG: ",".join(all_aliases),
        LEFT_OUT_TAG: ",".join(left_out),
        **{f"{BUILD_TAG}{labels[build.digest]}": _build_text(build) for build in builds},
    }
    return MirrorContent(
        key=tags[KEY_TAG],
        origin=version.weights_sha256,
        experiment=f"{prefix}/{version.model}",
        # MLflow's names of models know no slash.
        registered_model=f"{prefix}.{version.model}",
        run_name=f"{version.model}/{version.number}",
        at_ms=round(version.created_at * 1000),
        parameters=parameters(version.lineage),
        metrics=_metrics(version, builds, labels),
        tags={name(k): v[:TAG_CHARACTERS_MAX] for k, v in tags.items() if v},
        aliases=tuple(alias for alias in all_aliases if _ALIAS.match(alias)),
        files=tuple(files),
    )


def name(text: str) -> str:
    """`text` as MLflow takes it for the name of a metric, parameter or tag."""
    return _NOT_IN_NAMES.sub("_", text)[:NAME_CHARACTERS_MAX]


def build_labels(builds: Sequence[Build]) -> dict[str, str]:
    """A readable name for each digest, as `openvino-int8-640x640`; its digest too where two
    are alike."""
    plain = {b.digest: BuildIdentity.model_validate(b.identity).label() for b in builds}
    many = {label for label in plain.values() if list(plain.values()).count(label) > 1}
    return {d: f"{label}-{d[:12]}" if label in many else label for d, label in plain.items()}


def parameters(lineage: Mapping[str, Any]) -> dict[str, str]:
    """The hyperparameters by their own names, everything else of the lineage beside them."""
    own = lineage.get("parameters")
    flat = dict(own) if isinstance(own, Mapping) else {}
    others = {f"lineage.{k}": v for k, v in lineage.items() if k != "parameters"}
    return {
        name(key): _text(value)[:PARAMETER_CHARACTERS_MAX]
        for key, value in sorted({**flat, **others}.items())
        if value is not None
    }


def figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers of an evaluation, and each class's, without curves and slices."""
    found = {key: value for key, value in metrics.items() if _is_number(value)}
    per_class = metrics.get("per_class")
    for class_name, entry in per_class.items() if isinstance(per_class, Mapping) else ():
        if isinstance(entry, Mapping):
            found |= {f"{class_name}/{k}": v for k, v in entry.items() if _is_number(v)}
    return {name(key): float(value) for key, value in sorted(found.items())}


def within(files: Sequence[MirrorFile], bounds: Bounds) -> tuple[list[MirrorFile], list[str]]:
    """The files that fit the bounds, in their order, and the paths of the others."""
    taken: list[MirrorFile] = []
    left_out: list[str] = []
    used = 0
    for file in files:
        fits = used + file.size_bytes <= bounds.version_bytes_max
        if file.size_bytes <= bounds.file_bytes_max and fits:
            taken.append(file)
            used += file.size_bytes
        else:
            left_out.append(file.path)
    return taken, left_out


def _metrics(
    version: ModelVersion, builds: Sequence[Build], labels: Mapping[str, str]
) -> dict[str, float]:
    found = figures(version.metrics)
    for build in builds:
        own = {**figures(build.metrics), "size_bytes": float(build.size_bytes)}
        found |= {name(f"{labels[build.digest]}/{key}"): value for key, value in own.items()}
    return found


def _files(
    builds: Sequence[Build],
    labels: Mapping[str, str],
    artefacts: Sequence[Artefact],
    build_files: Mapping[str, Sequence[MirrorFile]],
) -> list[MirrorFile]:
    """Small and telling first: what a bound cuts off are the model files."""
    kept = [MirrorFile(a.name, a.sha256, a.size_bytes) for a in artefacts]
    manifests = [
        MirrorFile(f"builds/{labels[b.digest]}/{MANIFEST_FILENAME}", b.digest, b.manifest_bytes)
        for b in builds
    ]
    models = [
        MirrorFile(f"builds/{labels[b.digest]}/{file.path}", file.sha256, file.size_bytes)
        for b in builds
        for file in build_files.get(b.digest, ())
    ]
    return [file for file in (*kept, *manifests, *models) if _is_inside(file.path)]


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return not path.startswith("/") and all(part not in {"", ".", ".."} for part in parts)


def _build_text(build: Build) -> str:
    """A build in one tag. The verdict's figures stay in the manifest and the metrics."""
    reasons = build.verdict.get("reasons") or []
    by_hand = build.verdict.get(BY_HAND)
    return json.dumps(
        {
            **({"by_hand": by_hand} if by_hand else {}),
            "digest": build.digest,
            "state": build.state,
            "admitted": build.verdict.get("admitted"),
            "reasons": [str(reason)[:500] for reason in reasons[:5]],
        },
        sort_keys=True,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
