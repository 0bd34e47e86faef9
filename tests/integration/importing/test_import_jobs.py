"""The import job and the rebuild job over a real database and store."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.blobs.store import BlobStore
from cloud.building import bringing, importing
from cloud.building.bringing import BringIn
from cloud.building.importing import ImportedFile, ImportRequest
from cloud.building.making import Base
from cloud.building.matrix import MatrixBuilder
from cloud.database import Database
from cloud.datasets import manifest as manifests
from cloud.datasets.manifest import DatasetManifest, Item
from cloud.datasets.models import Dataset, DatasetVersion
from cloud.datasets.splits import Split
from cloud.errors import ConflictError, ForbiddenError, InvalidError
from cloud.jobs.context import JobContext
from cloud.jobs.models import Job
from cloud.registry import service as registry
from cloud.registry.models import ModelVersion
from cloud.settings import BuildingSettings
from cloud.shipped import BundleRefused
from cloud.training import rebuild
from tests.integration.importing.outside import NAMES, checkpoint, network, save
from tests.integration.importing.test_onnx_files import model, written

pytestmark = pytest.mark.integration

ADA = Principal(PrincipalKind.USER, "ada", Role.ADMINISTRATOR)
OPERATOR = Principal(PrincipalKind.USER, "op", Role.OPERATOR)
RETRAINED = """
import json, shutil, sys
from pathlib import Path
folder = Path(sys.argv[1])
order = json.loads((folder / "job.json").read_text())
assert order["parameters"]["seed"] == 7, order
shutil.copyfile(sys.argv[0] + ".weights", folder / "weights.pt")
(folder / "model.onnx").write_bytes(b"exported")
line = {"stage": "training", "epoch": 1, "epochs": 1, "map50": 0.5}
(folder / "progress.jsonl").write_text(json.dumps(line) + "\\n")
"""


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(f"sqlite:///{folder / 'hub.sqlite3'}")
        self.database.migrate()
        self.store = BlobStore(folder / "blobs", blob_bytes_max=2**30)
        splits = (Split.TRAIN, Split.SELECTION)
        images = [self.store.put([f"an image for {split.value}".encode()]) for split in splits]
        self.image = images[0]
        items = tuple(
            Item(
                image=image.sha256, size_bytes=image.size_bytes, suffix=".png", width=8, height=8,
                split=split, boxes=(), difference_hash="0" * 16, source="import:x.png",
            )
            for split, image in zip(splits, images, strict=True)
        )  # fmt: skip
        held = DatasetManifest(class_names=tuple(NAMES), items=items)
        digest = self.store.put([manifests.canonical(held)]).sha256
        with self.database.transaction() as session:
            registry.create_model(session, ADA, "caps", list(NAMES))
            session.add(Dataset(name="caps", created_at=0.0, created_by="ada"))
            session.flush()
            session.add(
                DatasetVersion(
                    dataset="caps", number=1, digest=digest, class_names=list(NAMES), counts={},
                    left_out=[], created_at=0.0, created_by="ada",
                )
            )  # fmt: skip
        self.dataset_digest = digest

    def context(self, job: Job) -> JobContext:
        (self.folder / "job").mkdir()
        return JobContext(job, self.folder / "job", self.database, self.store, save=lambda _: False)

    def version(self, **more: Any) -> None:
        weights = self.store.put_file(checkpoint(self.folder / "original.pt"))
        fields = {
            "lineage": {
                "weights": "scratch", "parameters": {"epochs": 1, "seed": 7},
                "selection": {"map50": 0.25}, "environment": {"torch": "0.1"},
            },
            **more,
        }  # fmt: skip
        with self.database.transaction() as session:
            session.add(
                ModelVersion(
                    model="caps", number=1, dataset="caps", dataset_version=1,
                    dataset_digest=self.dataset_digest, weights_sha256=weights.sha256,
                    weights_bytes=weights.size_bytes, metrics={}, created_at=time.time(),
                    created_by="ada", **fields,
                )
            )  # fmt: skip

    def asked_rebuild(self) -> Job:
        with self.database.transaction() as session:
            return rebuild.request(session, OPERATOR, "caps", 1).model_copy()

    def retrained(self, weights: Path) -> tuple[str, ...]:
        script = self.folder / "retrain.py"
        script.write_text(RETRAINED)
        (self.folder / "retrain.py.weights").write_bytes(weights.read_bytes())
        return sys.executable, str(script)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.database.close()


def asked(bench: Bench, principal: Principal, **more: Any) -> Job:
    wanted = ImportRequest(**{"dataset": "caps", **more})
    with bench.database.transaction() as session:
        return importing.request(session, principal, "caps", wanted).model_copy()


def test_an_import_hands_the_inspected_file_over(bench: Bench) -> None:
    source = written(bench.folder, model(names=str(dict(enumerate(NAMES)))))
    handed: list[ImportedFile] = []

    def register(
        context: JobContext, wanted: ImportRequest, imported: ImportedFile
    ) -> Mapping[str, Any]:
        handed.append(imported)
        assert imported.weights.read_bytes() == source.read_bytes()
        return {"dataset_version": wanted.dataset_version}

    job = asked(bench, OPERATOR, file=str(source), licence="AGPL-3.0")
    assert importing.handler(register)(bench.context(job)) == {"dataset_version": 1}
    facts = handed[0].facts
    assert (facts.origin, facts.licence, facts.classes) == ("x.onnx", "AGPL-3.0", 2)


@pytest.mark.parametrize("names", [["one"], ["screw", "cap"]], ids=["count", "order"])
def test_other_classes_end_the_import_before_anything_is_registered(
    bench: Bench, names: list[str]
) -> None:
    source = written(bench.folder, model(names=str(dict(enumerate(names)))))
    blob = bench.store.put_file(source)
    job = asked(bench, OPERATOR, file=f"sha256:{blob.sha256}", format="onnx")

    def register(*_: Any) -> Mapping[str, Any]:
        pytest.fail("it was registered")

    with pytest.raises(InvalidError, match="classes"):
        importing.handler(register)(bench.context(job))


def test_a_file_that_the_agent_refuses_ends_the_import(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise BundleRefused("model.onnx answered with NaN; go back")

    maker = SimpleNamespace(base=lambda *_: Base(Path("m.onnx"), 17))
    monkeypatch.setattr(bringing, "golden_items", lambda _: ())
    monkeypatch.setattr(bringing, "write_frames", lambda *_, **__: ())
    monkeypatch.setattr(bringing, "workshop", lambda *_: SimpleNamespace(maker=maker))
    monkeypatch.setattr(bringing, "measure", refuse)
    source = written(bench.folder, model(names=str(dict(enumerate(NAMES)))))
    job = asked(bench, OPERATOR, file=str(source))
    register = BringIn(MatrixBuilder(BuildingSettings()))
    with pytest.raises(
        InvalidError, match=r"the file is refused: model\.onnx answered with NaN; see"
    ) as refused:
        importing.handler(register)(bench.context(job))
    assert "export it again" in refused.value.remedy


def test_who_may_bring_what(bench: Bench) -> None:
    brought = str(checkpoint(bench.folder / "x.pt"))
    with pytest.raises(ForbiddenError):
        asked(bench, OPERATOR, file=brought)
    assert asked(bench, ADA, file=brought).kind == "import"
    with pytest.raises(InvalidError, match="no file on the hub's machine"):
        asked(bench, ADA, file="/no/such.onnx")
    with pytest.raises(InvalidError, match=r"no .onnx and no .pt"):
        asked(bench, ADA, file="/etc/hostname")
    with pytest.raises(InvalidError, match=r"x.tar is no .onnx and no .pt"):
        asked(bench, ADA, file=f"sha256:{'ab' * 32}", format="tar", name="x.tar")


@pytest.mark.parametrize("same", [True, False])
def test_a_rebuild_says_how_far_off_it_is(bench: Bench, same: bool) -> None:
    bench.version()
    again = bench.folder / "original.pt"
    if not same:
        moved = network(NAMES).half()
        moved.model[0].conv.weight.data[0, 0, 0, 0] += 0.5
        again = save(bench.folder / "moved.pt", moved)
    result = rebuild.handler(bench.retrained(again))(bench.context(bench.asked_rebuild()))
    json.dumps(result)
    assert (result["identical"], result["weights_equal"]) == (same, same)
    weights = result["weights"]
    assert weights["tensors"] - weights["equal"] == (0 if same else 1)
    assert weights["difference_max"] == pytest.approx(0.0 if same else 0.5, abs=0.01)
    assert weights["difference_at"] == (None if same else "model.0.conv.weight")
    assert result["selection_map50"] == {"then": 0.25, "now": 0.5, "difference": 0.25}
    assert (result["deterministic"], result["onnx_equal"]) == (False, None)
    assert "torch" in result["environment"]["changed"]
    with bench.database.reading() as session:
        assert registry.next_number(session, "caps") == 2


def test_what_cannot_be_made_again_is_refused(bench: Bench) -> None:
    bench.version()
    job = bench.asked_rebuild()
    bench.store.path(bench.image.sha256).unlink()
    with pytest.raises(
        ConflictError, match=rf"1 of the dataset's 2 images.*{bench.image.sha256[:12]}"
    ):
        rebuild.handler()(bench.context(job))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"source": "import"}, "was imported"),
        ({"lineage": {"weights": "file:mine.pt", "parameters": {}}}, "started from file:mine.pt"),
    ],
)
def test_a_version_from_outside_cannot_be_made_again(
    bench: Bench, more: dict[str, Any], why: str
) -> None:
    bench.version(**more)
    with pytest.raises(ConflictError, match=why):
        bench.asked_rebuild()
