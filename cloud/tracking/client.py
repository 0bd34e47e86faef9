"""One version onto an MLflow server. Every step looks first at what is there, so that it may
be taken again after it was cut off anywhere."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cloud.tracking import curve
from cloud.tracking.content import (
    ALIASES_TAG,
    CURVE_FILENAME,
    FILE_TAG,
    KEY_TAG,
    LEFT_OUT_TAG,
    ORIGIN_TAG,
    TAG_CHARACTERS_MAX,
    MirrorContent,
    name,
)

OWN_TAGS = "argosy."
CURVE_TAG = "argosy.curve_sha256"
ENTITIES_PER_BATCH = 100

T = TypeVar("T")


class RefusedError(Exception):
    """The server holds something that is not ours to change; the message names it."""


class Pusher:
    """Pushes versions by an `MlflowClient`.

    Args:
        artifact_folder: where a database without a server keeps artifacts; None with a server,
            which says so itself.
    """

    def __init__(self, client: Any, uri: str, artifact_folder: str | None) -> None:
        self._client, self._uri, self._artifact_folder = client, uri, artifact_folder

    def push(
        self, content: MirrorContent, run_id: str | None, blobs: dict[str, Path]
    ) -> tuple[str, str]:
        """Make the server hold `content`, and return the run's id and the model version.

        Args:
            run_id: as it was the last time, if there was one.
            blobs: the content's files by digest.

        Raises:
            RefusedError: the run or the experiment there is not this version's.
            MlflowException: the server refused or did not answer.
        """
        run = self._run(content, run_id)
        self._files(run, content, blobs)
        self._curve(run, content, blobs)
        self._data(run, content)
        return run.info.run_id, self._model_version(run, content)

    def _run(self, content: MirrorContent, run_id: str | None) -> Any:
        run = self._known_run(content, run_id) or self._found_run(content)
        if run is None:
            experiment = self._experiment(content.experiment)
            identity = {key: content.tags[key] for key in (KEY_TAG, ORIGIN_TAG)}
            run = self._client.create_run(
                experiment, start_time=content.at_ms, tags=identity, run_name=content.run_name
            )
        if run.data.tags.get(ORIGIN_TAG) != content.origin:
            raise RefusedError(
                f"run {run.info.run_id} is of another {content.key}: another hub mirrors here "
                "with the same tracking.prefix; give each its own"
            )
        if run.info.status != "FINISHED":
            self._client.set_terminated(run.info.run_id, "FINISHED", content.at_ms)
        return run

    def _known_run(self, content: MirrorContent, run_id: str | None) -> Any:
        from mlflow.exceptions import MlflowException

        if run_id is None:
            return None
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            # Somebody emptied the server: it is made again.
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        is_ours = run.data.tags.get(KEY_TAG) == content.key
        return run if is_ours and run.info.lifecycle_stage == "active" else None

    def _found_run(self, content: MirrorContent) -> Any:
        experiment = self._client.get_experiment_by_name(content.experiment)
        if experiment is None:
            return None
        query = f"tags.`{KEY_TAG}` = '{content.key}'"
        found = self._client.search_runs(
            [experiment.experiment_id], query, max_results=1, order_by=["attributes.start_time ASC"]
        )
        return found[0] if found else None

    def _experiment(self, experiment_name: str) -> str:
        experiment = self._client.get_experiment_by_name(experiment_name)
        if experiment is None:
            folder = self._artifact_folder
            location = Path(folder).absolute().as_uri() if folder is not None else None
            made: str = self._client.create_experiment(experiment_name, artifact_location=location)
            return made
        if experiment.lifecycle_stage != "active":
            raise RefusedError(
                f"the experiment {experiment_name} was deleted there: restore it, or set "
                "another tracking.prefix"
            )
        known: str = experiment.experiment_id
        return known

    def _data(self, run: Any, content: MirrorContent) -> None:
        """Parameters that are missing, metrics and tags that differ; old tags of ours go."""
        from mlflow.entities import Metric, Param, RunTag

        run_id, there = run.info.run_id, run.data
        metrics = [
            Metric(key, value, content.at_ms, 0)
            for key, value in content.metrics.items()
            if there.metrics.get(key) != value
        ]
        parameters = [
            Param(key, value)
            for key, value in content.parameters.items()
            if key not in there.params
        ]
        wanted = self._tags(run, content)
        tags = [RunTag(key, value) for key, value in wanted.items() if there.tags.get(key) != value]
        for batch in _batches(metrics):
            self._client.log_batch(run_id, metrics=batch)
        for batch in _batches(parameters):
            self._client.log_batch(run_id, params=batch)
        for batch in _batches(tags):
            self._client.log_batch(run_id, tags=batch)
        kept = (FILE_TAG, CURVE_TAG)
        for key in there.tags:
            if key.startswith(OWN_TAGS) and key not in wanted and not key.startswith(kept):
                self._client.delete_tag(run_id, key)

    def _tags(self, run: Any, content: MirrorContent) -> dict[str, str]:
        if self._takes_files(run) or not content.files:
            return content.tags
        where = urlsplit(run.info.artifact_uri).scheme
        paths = ",".join(file.path for file in content.files)
        note = f"all: this server keeps artifacts elsewhere ({where}:), not behind itself: {paths}"
        return {**content.tags, LEFT_OUT_TAG: note[:TAG_CHARACTERS_MAX]}

    def _takes_files(self, run: Any) -> bool:
        """Whether artifacts go to the configured server, or to the folder beside a database.

        A server that keeps them elsewhere tells its clients to write there, to a bucket or to
        a folder of the client's own machine; only what was configured is written to.
        """
        place, server = urlsplit(str(run.info.artifact_uri)), urlsplit(self._uri)
        if self._artifact_folder is not None:
            return place.scheme == "file"
        return place.scheme == "mlflow-artifacts" and place.netloc in {"", server.netloc}

    def _files(self, run: Any, content: MirrorContent, blobs: dict[str, Path]) -> None:
        if not self._takes_files(run):
            return
        for file in content.files:
            tag = name(FILE_TAG + file.path)
            blob = blobs.get(file.sha256)
            if run.data.tags.get(tag) == file.sha256 or blob is None or not blob.is_file():
                continue
            folder, _, filename = file.path.rpartition("/")
            with tempfile.TemporaryDirectory() as temporary:
                # An artifact has its file's name, a blob its digest.
                named = Path(temporary) / filename
                shutil.copyfile(blob, named)
                self._client.log_artifact(run.info.run_id, str(named), folder or None)
            self._client.set_tag(run.info.run_id, tag, file.sha256)

    def _curve(self, run: Any, content: MirrorContent, blobs: dict[str, Path]) -> None:
        from mlflow.entities import Metric

        table = next((f for f in content.files if f.path.endswith(CURVE_FILENAME)), None)
        if table is None or run.data.tags.get(CURVE_TAG) == table.sha256:
            return
        blob = blobs.get(table.sha256)
        if blob is None or not blob.is_file():
            return
        found = curve.points(blob.read_text(errors="replace"))
        metrics = [Metric(p.metric, p.value, content.at_ms, p.step) for p in found]
        for batch in _batches(metrics):
            self._client.log_batch(run.info.run_id, metrics=batch)
        self._client.set_tag(run.info.run_id, CURVE_TAG, table.sha256)

    def _model_version(self, run: Any, content: MirrorContent) -> str:
        model, run_id = content.registered_model, run.info.run_id
        self._registered_model(model)
        query = f"name = '{model}' and run_id = '{run_id}'"
        found = sorted(
            self._client.search_model_versions(query), key=lambda version: int(version.version)
        )
        if found:
            number = str(found[0].version)
        else:
            made = self._client.create_model_version(
                model, run.info.artifact_uri, run_id, tags=content.tags, description=content.key
            )
            number = str(made.version)
        there = self._client.get_model_version(model, number)
        self._aliases(there, content)
        for key, value in content.tags.items():
            if there.tags.get(key) != value:
                self._client.set_model_version_tag(model, number, key, value)
        for key in there.tags:
            if key.startswith(OWN_TAGS) and key not in content.tags:
                self._client.delete_model_version_tag(model, number, key)
        return number

    def _registered_model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._client.create_registered_model(model, description="mirrored from an Argosy hub")

    def _aliases(self, there: Any, content: MirrorContent) -> None:
        """Set ours; take away those that we had set. Aliases of others stay."""
        ours_before = set(there.tags.get(ALIASES_TAG, "").split(","))
        for alias in ours_before.intersection(there.aliases) - set(content.aliases):
            self._client.delete_registered_model_alias(content.registered_model, alias)
        for alias in content.aliases:
            if alias not in there.aliases:
                self._client.set_registered_model_alias(
                    content.registered_model, alias, there.version
                )


def _batches(entities: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(entities), ENTITIES_PER_BATCH):
        yield entities[start : start + ENTITIES_PER_BATCH]
