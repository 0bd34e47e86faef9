"""What a Sparkplug B edge node says, and when: pure, without broker or clock.

The device of the fleet is the edge node, each camera a device of it. A message that carries
data names only metrics of the last birth; where the set of metrics or the model changes,
the camera is born again instead. Every message counts one up from the node's birth (0) and
wraps after 255; a death certificate of the node has no number.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edge_agent.errors import OutputError
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.sparkplug_payload import DataType, Metric, encode
from edge_agent.outputs.stock import stock_items
from edge_agent.outputs.writer import body_json

SEQUENCES = 256
NOTICE_CHARACTERS_MAX = 4096
REBIRTH = "Node Control/Rebirth"
BD_SEQ = "bdSeq"
FRAME_RATE = "frame_rate"
NOTICE = "notice"
MODEL = (
    ("model/name", DataType.STRING, "model"),
    ("model/version", DataType.INT64, "version"),
    ("model/digest", DataType.STRING, "bundle_digest"),
)


@dataclass(frozen=True)
class Message:
    """One publication: its verb, the camera (None: the node itself), and the payload."""

    verb: str
    camera: str | None
    payload: bytes


@dataclass
class _Camera:
    metrics: dict[str, Metric] = field(default_factory=dict)
    frames: int = 0
    heard: bool = False
    silent_s: float = 0.0
    born: bool = False
    dead: bool = False


class EdgeNode:
    """The metrics of a node and its cameras, and the numbers of one session."""

    def __init__(self, device_id: str) -> None:
        self._device_id = device_id
        self._cameras: dict[str, _Camera] = {}
        self._seq = 0

    def births(self, bd_seq: int, now_ms: int) -> tuple[Message, ...]:
        """The node's birth and that of every camera that is alive."""
        self._seq = 0
        metrics = (
            Metric(BD_SEQ, DataType.INT64, bd_seq, now_ms),
            Metric(REBIRTH, DataType.BOOLEAN, False, now_ms),
            Metric("device", DataType.STRING, self._device_id, now_ms),
            self._node_rate(now_ms),
        )
        node = Message("NBIRTH", None, encode(metrics, now_ms, self._next_seq()))
        alive = [name for name, camera in self._cameras.items() if not camera.dead]
        return (node, *(self._birth(name, now_ms) for name in alive))

    def absorb(self, state: Signal) -> None:
        """Take a state without saying anything: births follow.

        Raises:
            OutputError: its body cannot be read.
        """
        self._update(state)

    def tell(self, signal: Signal, now_ms: int) -> tuple[Message, ...]:
        """What a signal changes. Raises OutputError where its body cannot be read."""
        changed, other_set = self._update(signal)
        camera = self._cameras[signal.camera]
        camera.heard, camera.dead = True, False
        if other_set or not camera.born:
            return (self._birth(signal.camera, now_ms),)
        if not changed:
            return ()
        return (self._data(signal.camera, changed, now_ms),)

    def rates(self, elapsed_s: float, now_ms: int) -> tuple[Message, ...]:
        """The frame rates (frames/s) since the last call, of each camera and of the node."""
        messages = []
        for name, camera in self._cameras.items():
            rate = round(camera.frames / elapsed_s, 2)
            camera.silent_s = 0.0 if camera.heard else camera.silent_s + elapsed_s
            camera.frames, camera.heard = 0, False
            known = camera.metrics.get(FRAME_RATE)
            if known is None or known.value == rate:
                continue
            metric = replace(known, value=rate, at_ms=now_ms)
            camera.metrics[FRAME_RATE] = metric
            if camera.born:
                messages.append(self._data(name, (metric,), now_ms))
        if messages:
            payload = encode((self._node_rate(now_ms),), now_ms, self._next_seq())
            messages.append(Message("NDATA", None, payload))
        return tuple(messages)

    def silences(self, after_s: float, now_ms: int) -> tuple[Message, ...]:
        """Deaths of cameras that told nothing for `after_s`; their next signal revives them."""
        messages = []
        for name, camera in self._cameras.items():
            if camera.born and camera.silent_s >= after_s:
                camera.born, camera.dead = False, True
                messages.append(Message("DDEATH", name, encode((), now_ms, self._next_seq())))
        return tuple(messages)

    def _update(self, signal: Signal) -> tuple[tuple[Metric, ...], bool]:
        """The metrics that changed, and whether the camera must be born again."""
        found = _metrics(signal)
        camera = self._cameras.setdefault(signal.camera, _Camera())
        if signal.kind is SignalKind.DETECTIONS:
            camera.frames += 1
            camera.metrics.setdefault(
                FRAME_RATE, Metric(FRAME_RATE, DataType.DOUBLE, None, _ms(signal.at))
            )
        old = camera.metrics
        changed = tuple(m for m in found if m.name not in old or old[m.name].value != m.value)
        gone = _gone(signal, old, found)
        model = {name for name, _, _ in MODEL}
        other_set = bool(gone) or any(m.name not in old or m.name in model for m in changed)
        for name in gone:
            del old[name]
        old.update((m.name, m) for m in changed)
        return changed, other_set

    def _birth(self, name: str, now_ms: int) -> Message:
        camera = self._cameras[name]
        camera.born = True
        metrics = tuple(camera.metrics.values())
        return Message("DBIRTH", name, encode(metrics, now_ms, self._next_seq()))

    def _data(self, name: str, metrics: tuple[Metric, ...], now_ms: int) -> Message:
        return Message("DDATA", name, encode(metrics, now_ms, self._next_seq()))

    def _node_rate(self, now_ms: int) -> Metric:
        rates = [
            c.metrics[FRAME_RATE].value for c in self._cameras.values() if FRAME_RATE in c.metrics
        ]
        known = [float(rate) for rate in rates if rate is not None]
        return Metric(FRAME_RATE, DataType.DOUBLE, sum(known) if known else None, now_ms)

    def _next_seq(self) -> int:
        seq, self._seq = self._seq, (self._seq + 1) % SEQUENCES
        return seq


def death(bd_seq: int, now_ms: int) -> bytes:
    """The payload of the node's will: it names the session that it ends."""
    return encode((Metric(BD_SEQ, DataType.INT64, bd_seq, now_ms),), now_ms, None)


def _metrics(signal: Signal) -> tuple[Metric, ...]:
    at_ms = _ms(signal.at)
    if signal.kind is SignalKind.RULE:
        return (Metric(f"rules/{signal.source}", DataType.BOOLEAN, bool(signal.active), at_ms),)
    if signal.kind is SignalKind.STOCK:
        shelf = _shelf(signal)
        return tuple(
            metric
            for item in stock_items(signal)
            for metric in (
                Metric(f"{shelf}{item.name}/count", DataType.INT64, item.count, at_ms),
                Metric(f"{shelf}{item.name}/state", DataType.STRING, item.state, at_ms),
            )
        )
    if signal.kind is SignalKind.NOTICE:
        text = body_json(signal).decode()[:NOTICE_CHARACTERS_MAX]
        return (Metric(NOTICE, DataType.STRING, text, at_ms),)
    try:
        return tuple(
            Metric(name, kind, str(value) if kind is DataType.STRING else int(value), at_ms)
            for name, kind, key in MODEL
            for value in (signal.body[key],)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(f"detections of {signal.camera} name no model: {error}") from error


def _gone(signal: Signal, old: dict[str, Metric], found: tuple[Metric, ...]) -> list[str]:
    """Items that a shelf no longer tells of."""
    if signal.kind is not SignalKind.STOCK:
        return []
    names = {metric.name for metric in found}
    return [n for n in old if n.startswith(_shelf(signal)) and n not in names]


def _shelf(signal: Signal) -> str:
    return f"shelves/{signal.source}/"


def _ms(at_s: float) -> int:
    return int(at_s * 1000)
