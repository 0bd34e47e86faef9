"""Which frames go back: two budgets, one for chance and one for doubt. Pure.

The policy's budget is split. The random part pays for frames drawn uniformly, whatever is
in them, so that what the fleet sees can be estimated without bias. The rest pays for
uncertain frames that differ from those taken before. Each choice carries the probability
with which it was made.

Frames at which a candidate and the incumbent disagree are doubtful too, and are there only as
long as the candidate's shadow runs. So they are paid for from the part of doubt, of which
half is left to them while there are any.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from edge_agent.dice import Dice
from protocol.messages import HarvestPolicy

SECONDS_PER_HOUR = 3600.0
HASHES_KEPT = 64
HASH_DISTANCE_MIN = 4
FRAME_RATE_SPAN_S = 30.0
FRAMES_PER_S_AT_START = 10.0
DISAGREEMENT_SHARE = 0.5
DISAGREEMENT_SPAN_S = 60.0

BudgetName = Literal["uncertain", "random"]
DrawnReason = Literal["uncertain", "random", "disagreement"]


@dataclass
class TokenBucket:
    """Holds at most `capacity` tokens, gains `per_s` a second, begins full."""

    capacity: float
    per_s: float
    now_s: float
    tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.capacity

    def advance(self, now_s: float) -> None:
        """Let time pass; a clock that steps back adds nothing."""
        gained = max(0.0, now_s - self.now_s) * self.per_s
        self.tokens = min(self.capacity, self.tokens + gained)
        self.now_s = max(self.now_s, now_s)

    def take(self, tokens: float) -> bool:
        """Take them if they are there."""
        if tokens > self.tokens:
            return False
        self.tokens -= tokens
        return True


@dataclass
class Budget:
    """Images and bytes that one part of the policy may still send."""

    images: TokenBucket
    bytes: TokenBucket

    @classmethod
    def of(
        cls, images: int, size_bytes: float, policy: HarvestPolicy, share: float, now_s: float
    ) -> Budget:
        """Room for `images` and `size_bytes` at once, refilled at `share` of the policy's rate."""
        images_per_s = policy.images_per_hour * share / SECONDS_PER_HOUR
        bytes_per_s = policy.bytes_per_hour * share / SECONDS_PER_HOUR
        return cls(
            TokenBucket(images, images_per_s, now_s), TokenBucket(size_bytes, bytes_per_s, now_s)
        )

    def advance(self, now_s: float) -> None:
        self.images.advance(now_s)
        self.bytes.advance(now_s)

    def has_room(self) -> bool:
        return self.images.tokens >= 1 and self.bytes.tokens > 0

    def spend(self, size_bytes: int) -> bool:
        """Pay for an image of `size_bytes`, whole or not at all."""
        if self.images.tokens < 1 or not self.bytes.take(size_bytes):
            return False
        return self.images.take(1)


@dataclass(frozen=True)
class Choice:
    """A frame that was chosen, to be paid for with `Sampler.pay` once its size is known."""

    reason: DrawnReason
    selection_probability: float

    @property
    def budget(self) -> BudgetName:
        """The part of the policy that pays for it."""
        return "random" if self.reason == "random" else "uncertain"


class Sampler:
    """Chooses frames of all cameras of a device under one policy.

    `now_s` is monotonic; `rng` decides every draw.
    """

    def __init__(self, policy: HarvestPolicy, now_s: float, rng: Dice) -> None:
        self._rng = rng
        self._frames_per_s, self._last_s = FRAMES_PER_S_AT_START, now_s
        self._hashes: dict[str, deque[int]] = {}
        self._disagreed_s: float | None = None
        self.set_policy(policy, now_s)

    def set_policy(self, policy: HarvestPolicy, now_s: float) -> None:
        """Begin anew with another policy's budgets, full.

        The random part holds at least one whole image, or it would never send any.
        """
        self._policy = policy
        share, burst = policy.random_share, policy.images_burst
        chance = min(burst, max(1, round(burst * share))) if share else 0
        bytes_chance = policy.bytes_burst * share
        bytes_doubt = policy.bytes_burst - bytes_chance
        self._budgets: dict[BudgetName, Budget] = {
            "random": Budget.of(chance, bytes_chance, policy, share, now_s),
            "uncertain": Budget.of(burst - chance, bytes_doubt, policy, 1 - share, now_s),
        }

    def choose(
        self, camera: str, uncertainty: float, now_s: float, fingerprint: Callable[[], int]
    ) -> Choice | None:
        """Whether to send this frame; `fingerprint` gives its dHash, asked for only if needed."""
        self._observe_rate(now_s)
        if not self._policy.enabled:
            return None
        self._advance(now_s)
        return self._draw_random() or self._draw_uncertain(camera, uncertainty, now_s, fingerprint)

    def choose_disagreement(
        self, camera: str, share: float, now_s: float, fingerprint: int
    ) -> Choice | None:
        """Whether to send a frame at which a candidate and the incumbent disagree.

        `share` (0..1, above 0) is how likely it was that the candidate looked at this frame;
        the probability that the choice carries is the one of both.
        """
        if not self._policy.enabled:
            return None
        self._advance(now_s)
        self._disagreed_s = now_s
        budget = self._budgets["uncertain"]
        if not budget.has_room():
            return None
        probability = budget.images.tokens / budget.images.capacity
        if self._rng.random() >= probability or not self._is_new(camera, fingerprint):
            return None
        return Choice("disagreement", probability * share)

    def pay(self, choice: Choice, size_bytes: int) -> bool:
        """Take the image from its budget; False where the bytes are not there: do not send it."""
        return self._budgets[choice.budget].spend(size_bytes)

    def _draw_random(self) -> Choice | None:
        budget = self._budgets["random"]
        if not budget.has_room():
            return None
        probability = min(1.0, budget.images.per_s / self._frames_per_s)
        drawn = self._rng.random() < probability
        return Choice("random", probability) if drawn else None

    def _advance(self, now_s: float) -> None:
        for budget in self._budgets.values():
            budget.advance(now_s)

    def _draw_uncertain(
        self, camera: str, uncertainty: float, now_s: float, fingerprint: Callable[[], int]
    ) -> Choice | None:
        budget = self._budgets["uncertain"]
        if uncertainty < self._policy.uncertainty_min or not budget.has_room():
            return None
        capacity = budget.images.capacity
        kept = capacity * DISAGREEMENT_SHARE if self._disagrees(now_s) else 0.0
        # The fuller the budget the likelier: a burst is spread, not spent on the first frames.
        probability = (budget.images.tokens - kept) / (capacity - kept)
        if self._rng.random() >= probability or not self._is_new(camera, fingerprint()):
            return None
        return Choice("uncertain", probability)

    def _disagrees(self, now_s: float) -> bool:
        """Whether frames of a shadow are on offer of late."""
        return self._disagreed_s is not None and now_s - self._disagreed_s <= DISAGREEMENT_SPAN_S

    def _is_new(self, camera: str, fingerprint: int) -> bool:
        """Whether the picture differs from those taken of this camera; remembers it if so."""
        seen = self._hashes.setdefault(camera, deque(maxlen=HASHES_KEPT))
        if any(hamming(fingerprint, other) < HASH_DISTANCE_MIN for other in seen):
            return False
        seen.append(fingerprint)
        return True

    def _observe_rate(self, now_s: float) -> None:
        """Keep a running mean of frames per second over all cameras."""
        gap_s = max(0.0, now_s - self._last_s)
        self._last_s = max(self._last_s, now_s)
        weight = min(1.0, gap_s / FRAME_RATE_SPAN_S)
        # Frames counted and time passed, both fading over the span.
        self._frames_per_s = self._frames_per_s * (1 - weight) + 1 / FRAME_RATE_SPAN_S


def hamming(a: int, b: int) -> int:
    """Bits in which two hashes differ."""
    return (a ^ b).bit_count()
