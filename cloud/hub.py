"""The hub's parts and how they hang together; started and stopped as one.

Database, blobs and services are there from the beginning. Broker, link and background
work run from `start` to `stop`, in the order in which they need each other.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial

from cloud.blobs.store import BlobStore
from cloud.broker import EmbeddedBroker, parse_url
from cloud.building.worker_desk import Desk
from cloud.database import Database
from cloud.datasets.importer import Importer
from cloud.datasets.limits import folder_limits, split_rules
from cloud.distribution.sender import ChunkRequests, ChunkSender
from cloud.distribution.service import TrustService
from cloud.distribution.trust import TrustRepository
from cloud.fleet import inbound as fleet_inbound
from cloud.fleet import service as fleet
from cloud.handlers import APART, handlers
from cloud.inbound import Counters, Handler
from cloud.ingest import IngestWriter
from cloud.ingress import Ingress, client_name
from cloud.jobs.runner import JobRunner
from cloud.loops import Loop
from cloud.ports import remembered_port
from cloud.registry import service as registry
from cloud.rollouts.running import leaving
from cloud.rollouts.running.engine import Engine
from cloud.settings import EMBEDDED, Settings
from cloud.telemetry import service as telemetry
from cloud.telemetry.samples import SampleStore
from cloud.telemetry.spool import SampleSpool
from cloud.tracking.mirror import Mirror
from cloud.training.runner import TrainingRunner, child_limits
from protocol.topics import Kind, Topic, TopicSpace

TRUST_CHECK_S = 600.0
GC_ALLOCATIONS = 50_000


class Hub:
    """Everything that one hub is made of, by its settings."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self.settings = settings
        self.counters = Counters()
        self.database = open_database(settings)
        self.blobs = BlobStore(settings.blobs_dir, blob_bytes_max=limits.blob_bytes_max)
        self.trust = TrustService(
            TrustRepository(
                settings.data_dir / "trust", settings.keys_dir, expires_s=limits.trust_expires_s
            )
        )
        with self.database.reading() as session:
            self.trust.reconcile(session)
        self.samples = SampleStore(
            blobs=self.blobs,
            spool=SampleSpool(
                bytes_max=limits.sample_spool_bytes_max, images_max=limits.sample_spool_images_max
            ),
            ranges_max=limits.sequence_ranges_max,
            image_bytes_max=limits.sample_bytes_max,
            image_pixels_max=limits.image_pixels_max,
        )
        self.importer = Importer(
            self.database,
            self.blobs,
            limits=folder_limits(settings.datasets),
            rules=split_rules(settings.datasets),
            on_imported=registry.ensure_model,
        )
        self.training = TrainingRunner(
            self.database,
            self.blobs,
            settings.data_dir / "training",
            settings.training,
            hooks=(self.trust.register_build,),
            building=settings.building,
        )
        self.desk = Desk()
        self.jobs = JobRunner(
            self.database,
            self.blobs,
            settings.data_dir / "jobs",
            handlers(settings, (self.trust.register_build,), self.desk),
            apart=APART,
            limits=child_limits(settings.training),
            log_bytes_max=settings.training.log_bytes_max,
        )
        self.tracking = Mirror(
            self.database,
            self.blobs,
            settings.data_dir / "tracking",
            settings.tracking,
            http_proxy=settings.http_proxy,
        )
        self.rollouts = Engine(self.database, limits.engine_tick_s, hears_since=self._hears_since)
        self._link()

    def _link(self) -> None:
        """The parts that speak with devices."""
        settings, limits = self.settings, self.settings.limits
        self._started = ExitStack()
        self.broker: EmbeddedBroker | None = None
        if settings.mqtt.url == EMBEDDED:
            port = remembered_port(settings.data_dir, "mqtt", settings.mqtt.port)
            self.broker = EmbeddedBroker(settings.mqtt, settings.data_dir, port)
            self.address = self.broker.address
        else:
            self.address = parse_url(settings.mqtt.url)
        self.requests = ChunkRequests(
            chunks_max=limits.wants_chunks_max,
            repeat_ms=limits.wants_repeat_ms,
            fanout_bytes_per_s=limits.broker_fanout_bytes_per_s,
        )
        self.writer = IngestWriter(
            self.database,
            TopicSpace(settings.mqtt.root),
            self._handlers(),
            known_devices=fleet.known_ids,
            counters=self.counters,
            limits=limits,
        )
        self.ingress = Ingress(
            settings.mqtt,
            self.address,
            client_name("argosy-hub"),
            receive=self.writer.offer,
            standing=self._standing_messages,
            counters=self.counters,
        )
        self.chunks = ChunkSender(
            self.requests,
            self.blobs,
            self.ingress,
            collect_ms=limits.wants_collect_ms,
            inflight_bytes_max=limits.publish_inflight_bytes_max,
        )

    def start(self) -> None:
        """Start every part, or none: what had started is stopped where one fails.

        Raises:
            ConfigurationError: the broker cannot be started as it is configured.
        """
        with ExitStack() as started:
            parts: list[EmbeddedBroker | IngestWriter | Ingress | ChunkSender | Loop | Engine] = []
            if self.broker is not None:
                broker = self.broker
                parts += [broker, Loop("broker", self.settings.limits.engine_tick_s, broker.ensure)]
            renew = partial(self.trust.renew, self.ingress)
            parts += [self.writer, self.ingress, self.chunks, Loop("trust", TRUST_CHECK_S, renew)]
            self.database.publisher = self.ingress
            for part in (
                *parts,
                self.importer,
                self.training,
                self.jobs,
                self.tracking,
                self.rollouts,
            ):
                part.start()
                started.callback(part.stop)
            # Before all else at the end: a link that waits for the writer could not be stopped.
            started.callback(self.writer.close)
            self._started = started.pop_all()
        _spare_the_collector()

    def stop(self) -> None:
        """Stop every part, the last started first, and close the database."""
        self._started.close()
        self.database.publisher = None
        self.database.close()

    def _handlers(self) -> dict[Kind, Handler]:
        """Who stores which kind, in the order in which a batch is stored."""
        ranges_max = self.settings.limits.sequence_ranges_max
        return {
            Kind.PRESENCE: fleet_inbound.store_presences,
            Kind.REPORTED: partial(fleet_inbound.store_reports, on_other=(leaving.on_report,)),
            Kind.COMMAND_RESPONSES: fleet_inbound.store_responses,
            Kind.TELEMETRY: partial(telemetry.store_windows, ranges_max=ranges_max),
            Kind.EVENTS: partial(
                telemetry.store_events,
                ranges_max=ranges_max,
                on_words=(self.rollouts.on_words,),
            ),
            Kind.SAMPLE_CHUNK: self.samples.store_chunks,
            Kind.SAMPLES: self.samples.store_reports,
            Kind.WANTS: self.requests.take_wants,
        }

    def _hears_since(self) -> float | None:
        """Since when what devices say comes into the database; None while it does not."""
        linked, stores = self.ingress.linked_since, self.writer.stores_since
        return None if linked is None or stores is None else max(linked, stores)

    def _standing_messages(self) -> Iterable[tuple[Topic, bytes]]:
        with self.database.reading() as session:
            states = fleet.standing_messages(session)
        return [*states, *self.trust.standing_messages()]


def _spare_the_collector() -> None:
    """Have the garbage collector look less often, and not at what lives as long as the hub.

    A batch of messages is tens of thousands of objects without cycles, which go when they
    are no longer referred to; looking for cycles among them took half of the ingest's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)


def open_database(settings: Settings) -> Database:
    """The hub's database at the newest schema."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(
        settings.database_url,
        busy_timeout_ms=settings.limits.database_busy_timeout_ms,
        connections_max=settings.limits.database_connections_max,
    )
    database.migrate()
    return database
