"""The agent: everything put together, and the one thread that acts.

Start: take the data folder, serve what was last committed, open the cameras, and only then
look for the hub. From there on one thread takes what arrives (messages, chunks, windows,
samples, ends of steps) from the inbox, one thing after the other, and does what is due.
All other threads only see or carry.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cached_property
from random import Random
from typing import Any

import structlog

from edge_agent.clock import Clock
from edge_agent.commands import Commands
from edge_agent.config import AgentConfig
from edge_agent.desired import KeptDesired
from edge_agent.harvest.sink import HarvestedSample
from edge_agent.inbox import Inbox
from edge_agent.journal import CameraChanged, Journal, WindowEmitted
from edge_agent.link.http import hub_http
from edge_agent.link.mqtt import Inbound, LinkDown, LinkUp, MqttLink
from edge_agent.link.outbox import Outbox, Quota
from edge_agent.link.sender import Sender, Uploaded
from edge_agent.local.life import Life, Seen, Told
from edge_agent.local.systemd import Service
from edge_agent.observe import hardware
from edge_agent.observe.machine import Machine
from edge_agent.report import ReportedState, ReportTimer, SessionState, merge_counters
from edge_agent.rules.binding import ClassNotice
from edge_agent.seeing import Hearers, build_seeing
from edge_agent.store import Store
from edge_agent.update.by_hand import ReturnEnded
from edge_agent.update.download_pace import Pace
from edge_agent.update.fetch import ChunkRead, Transport
from edge_agent.update.http_child import HttpReader
from edge_agent.update.slots import SlotPorts, Slots
from edge_agent.update.step_parts import StepEnded
from edge_agent.version import agent_version
from edge_agent.worker import Worker
from protocol.builds import Capabilities
from protocol.chunks import CHUNK_BYTES
from protocol.messages import BlobWant, Desired, Reported, Wants, encode
from protocol.states import CameraState
from protocol.topics import Kind, Topic

TICK_S = 0.1

_AWAY = (CameraState.CONNECTING, CameraState.BACKING_OFF)

log = structlog.get_logger(__name__)


class Stop:
    """In the inbox: leave the loop."""


class Agent:
    """One device. `run` returns after `stop`, which any thread or signal handler may call."""

    def __init__(
        self, config: AgentConfig, clock: Clock, rng: Random, service: Service | None = None
    ) -> None:
        """Take the data folder and put the parts together; nothing sees or speaks yet.

        `service` is the service manager that started the agent, where there is one.

        Raises:
            EdgeError: the folder, the outbox or the configuration cannot be used.
        """
        limits = config.limits
        self._id, self._limits, self._clock, self._rng = config.device.id, limits, clock, rng
        self._boot_id = uuid.uuid4().hex
        self._inbox = Inbox(limits.inbox_messages_max)
        self._timer = ReportTimer(limits.reported_every_s)
        self._store = Store(config.device.data_dir)
        self._store.open()
        quota = Quota(limits.records_bytes_max, limits.images_bytes_max)
        self._outbox = Outbox(self._store.outbox, self._id, quota, self._store.reserve)
        self._journal = Journal(self._id, self._outbox, clock, limits.sample_image_bytes_max)
        self._http = hub_http(config.hub, limits.http_timeout_s)
        self._reader = HttpReader(config.hub, limits)
        self._link = MqttLink(
            self._id,
            self._boot_id,
            config.mqtt,
            limits,
            deliver=self._inbox.offer,
            next_epoch=self._next_epoch,
            clock=clock,
            rng=rng,
        )
        self._sender = self._build_sender()
        self._machine = Machine(clock.monotonic)
        self._seeing = build_seeing(
            config,
            self._store,
            clock=clock,
            rng=rng,
            machine=self._machine,
            hearers=Hearers(
                window=self._inbox.put,
                sample=self._inbox.put,
                camera=lambda *change: self._inbox.put(CameraChanged(*change)),
            ),
        )
        self._slots = self._build_slots()
        cameras = tuple(camera.id for camera in config.cameras)
        self._commands = Commands(
            self._id, self._seeing.pipeline, cameras, self._journal, self._report
        )
        self._life = self._build_life(config, service or Service())
        self._handlers = self._build_handlers()
        self._generation = 0
        self._desired = KeptDesired(self._store)
        self._lost_classes: tuple[ClassNotice, ...] = ()
        self._cameras_logged: dict[str, tuple[CameraState | None, str]] = {}

    def run(self) -> None:
        """Serve, see, and follow the hub until `stop`."""
        now, wall = self._now(), self._clock.wall()
        log.info("agent_starting", device=self._id, version=agent_version())
        for trouble in self._slots.serve_from_disk(now, wall):
            self._journal.alert(trouble.name, trouble.text)
        known = self._desired.load()
        self._seeing.start()
        self._slots.resume(now, wall)
        if known is not None:
            self._follow(known)
        self._link.start()
        self._life.start()
        asked = False
        try:
            self._loop()
            asked = True
        finally:
            self._shut_down(asked=asked)

    def stop(self) -> None:
        self._inbox.put(Stop())

    def _loop(self) -> None:
        ticked = float("-inf")
        while True:
            item = self._inbox.get(TICK_S)
            if isinstance(item, Stop):
                return
            if item is not None:
                self._handlers[type(item)](item)
            now = self._now()
            if now - ticked >= TICK_S:
                ticked = now
                self._tick(now)

    def _tick(self, now: float) -> None:
        self._desired.tick()
        self._slots.tick(now, self._clock.wall())
        self._sender.pump(now)
        self._life.tick(now)
        self._tell_lost_classes()
        if self._timer.due(now):
            self._report()

    def _shut_down(self, *, asked: bool) -> None:
        """Stop seeing, keep its last words, say goodbye; within `limits.stop_s`."""
        self._life.stop(self._limits.stop_s / 3)
        self._seeing.stop()
        while (item := self._inbox.get(0)) is not None:
            if isinstance(item, WindowEmitted | HarvestedSample | CameraChanged):
                self._handlers[type(item)](item)
        self._slots.stop(self._now(), asked=asked)
        self._sender.pump(self._now())
        self._link.stop(self._limits.stop_s / 3)
        self._http.close()
        self._outbox.close()
        self._store.close()
        log.info("agent_stopped", device=self._id)

    # ---- what arrives ----------------------------------------------------------------

    def _build_handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            Inbound: lambda item: self._messages[item.topic.kind](item),
            ChunkRead: lambda item: self._slots.take_chunk(item, self._now(), self._clock.wall()),
            StepEnded: lambda item: self._slots.step_ended(item, self._now(), self._clock.wall()),
            ReturnEnded: self._slots.return_ended,
            Uploaded: lambda item: self._sender.uploaded(item, self._now()),
            WindowEmitted: self._journal.window,
            HarvestedSample: self._on_sample,
            CameraChanged: self._on_camera,
            LinkUp: self._on_link_up,
            LinkDown: lambda _item: None,
        }

    @cached_property
    def _messages(self) -> dict[Kind, Callable[[Inbound], None]]:
        return {
            Kind.DESIRED: lambda item: self._on_desired(item.message),
            Kind.ACKS: lambda item: self._sender.acknowledge(item.message, self._now()),
            Kind.COMMANDS: self._on_command,
            Kind.BLOB_CHUNK: lambda item: self._slots.take_chunk(
                ChunkRead(item.topic.sha256, item.topic.index, item.message),
                self._now(),
                self._clock.wall(),
            ),
        }

    def _on_desired(self, desired: Desired) -> None:
        if desired.generation < self._generation:
            log.warning("desired_is_old", generation=desired.generation, known=self._generation)
            return
        if desired.generation > self._generation:
            try:
                self._desired.keep(desired)
            except OSError as error:
                log.warning("desired_not_persisted", error=str(error))
                self._journal.alert("disk_refused", f"the desired state: {error}")
        self._follow(desired)
        self._timer.request(self._now())

    def _follow(self, desired: Desired) -> None:
        self._generation = desired.generation
        self._seeing.follow(desired)
        self._slots.desire(desired, self._now(), self._clock.wall())

    def _on_command(self, item: Inbound) -> None:
        response = self._commands.answer(item.message, self._clock.wall())
        if response is None:
            return
        if item.reply is not None:
            self._link.answer(item.reply, encode(response))
        else:
            self._link.publish(Topic(Kind.COMMAND_RESPONSES, self._id), encode(response))

    def _on_sample(self, harvested: HarvestedSample) -> None:
        self._journal.sample(harvested)

    def _on_camera(self, changed: CameraChanged) -> None:
        camera, state, why = changed.camera, changed.state, changed.detail
        # A camera that is away is tried for ever; each try that ends alike is no news.
        news = (None if state in _AWAY else state, why)
        if self._cameras_logged.get(camera) != news:
            self._cameras_logged[camera] = news
            log.info("camera_changed", camera=camera, state=state.value, why=why)
        self._journal.camera(changed)
        self._timer.request(self._now())

    def _on_link_up(self, _item: LinkUp) -> None:
        now = self._now()
        self._sender.rewind()
        self._slots.link_restored()
        self._timer.postpone(now, self._rng.uniform(0, self._limits.reported_delay_s))

    # ---- what is told ----------------------------------------------------------------

    def _tell_lost_classes(self) -> None:
        """Tell the hub once when a rule or shelf has lost or found a class."""
        lost = self._seeing.line.lost_classes()
        if lost != self._lost_classes:
            self._lost_classes = lost
            named = "; ".join(f"{n.owner} ({n.camera}): {n.class_name}" for n in lost)
            self._journal.alert("classes_lost", named or "every rule has its classes again")

    def _report(self) -> None:
        reported = Reported(
            device_id=self._id,
            boot_id=self._boot_id,
            session_epoch=self._link.session_epoch,
            agent_version=agent_version(),
            desired_generation=self._generation,
            slots=self._slots.reported(),
            cameras=self._seeing.pipeline.camera_reports(),
            capabilities=self._capabilities,
            health=self._machine.health(self._store.data_dir),
            counters=self._counters(),
            reported_at=self._clock.wall(),
        )
        self._link.publish(Topic(Kind.REPORTED, self._id), encode(reported), retain=True)
        try:
            self._store.save("reported", ReportedState(reported=reported))
        except OSError as error:
            log.warning("report_not_persisted", error=str(error))

    def _counters(self) -> dict[str, int]:
        return merge_counters(
            (
                self._seeing.pipeline.counters(),
                self._seeing.line.counters(),
                self._outbox.counters(),
                self._journal.counters,
                self._sender.counters,
                self._link.counters,
                self._slots.counters,
                self._commands.counters,
            )
        )

    @cached_property
    def _capabilities(self) -> Capabilities:
        return hardware.capabilities()

    def _want(self, blobs: tuple[BlobWant, ...]) -> bool:
        wants = Wants(device_id=self._id, blobs=blobs)
        return self._link.publish(Topic(Kind.WANTS, self._id), encode(wants))

    # ---- putting together ------------------------------------------------------------

    def _build_sender(self) -> Sender:
        return Sender(
            self._id,
            self._outbox,
            self._link,
            put_image=self._http.put_sample,
            submit=Worker("uploads").submit,
            deliver=self._inbox.put,
            inflight_max=self._limits.outbox_inflight_max,
            resend_after_s=self._limits.resend_after_s,
            http_retry_s=self._limits.http_retry_s,
        )

    def _build_slots(self) -> Slots:
        transport = Transport(
            connected=lambda: self._link.connected,
            want=self._want,
            listen=self._link.want_blob,
            unlisten=self._link.unwant_blob,
            read_http=self._reader.read,
            submit=Worker("downloads").submit,
            deliver=lambda chunk: self._inbox.offer(chunk, self._limits.http_timeout_s),
            pace=Pace(self._limits.download_bytes_per_s_max, CHUNK_BYTES),
        )
        updates = Worker("updates")
        ports = SlotPorts(
            transport=transport,
            submit=updates.submit,
            renew=updates.renew,
            rescue=Worker("rescue").submit,
            deliver=self._inbox.put,
            tell=self._journal.execution_once,
            told=self._journal.told,
            alert=self._journal.alert,
            turned=self._journal.turned,
            changed=lambda: self._timer.request(self._now()),
            health=self._seeing.health,
            options=self._seeing.options,
            capabilities=lambda: self._capabilities,
            service=self._seeing.service,
            shadowing=self._seeing.shadowing,
            monotonic=self._clock.monotonic,
            wall=self._clock.wall,
            rng=self._rng,
        )
        return Slots(self._seeing.slots, self._store, self._limits, ports)

    def _build_life(self, config: AgentConfig, service: Service) -> Life:
        seeing = self._seeing
        return Life(
            self._id,
            self._store.data_dir,
            config.local,
            service,
            seen=Seen(seeing.pipeline, seeing.ledger, seeing.slots, seeing.cameras, seeing.figures),
            machine=self._machine,
            clock=self._clock,
            told=Told(
                counters=self._counters,
                link_up=lambda: self._link.connected,
                channels=seeing.channel_counters,
                problems=seeing.channel_problems,
                lost_classes=seeing.lost_classes,
                zones=seeing.zones,
            ),
        )

    def _next_epoch(self) -> int:
        """On the link's thread: the next session's number, on the disk before it is used.

        It is the time of day, and one more than the last where the clock stands behind: a
        device whose disk was replaced or restored then comes after its own earlier sessions.
        A full disk must not keep the device from telling that it is full, so the number then
        counts on in memory alone.
        """
        known = self._store.load("session", SessionState) or SessionState()
        last = max(known.epoch, self._link.session_epoch)
        following = SessionState(epoch=max(last + 1, int(self._clock.wall())))
        try:
            self._store.save("session", following)
        except OSError as error:
            log.warning("session_not_persisted", error=str(error))
        return following.epoch

    def _now(self) -> float:
        return self._clock.monotonic()
