"""The phases of a training and their schedules, all of which count in shares of a phase's steps."""

from dataclasses import dataclass

from training.learner import Aims

LOWEST = 0.02  # share of the rate at which its decay ends


@dataclass(frozen=True)
class Phase:
    """A number of steps with one purpose; its name is that of its model checkpoint.

    steps: how many. size: images or clips a step. first: number of its first image or clip. rate: Muon's highest rate.
    warm_up: share of the steps over which the rate rises. decay: share of the steps at the end over which it falls.
    dense: share of the steps by which the dense loss has faded to nothing. end: weight of the token that ends an answer.
    blind: whether rows that hold a complete answer see few visual tokens. frozen: whether towers keep their weights.
    growing: whether scenes begin with few things.
    """

    name: str
    steps: int
    size: int
    first: int
    rate: float
    warm_up: float = 0.0
    decay: float = 0.0
    dense: float = 0.0
    end: float = 1.0
    blind: bool = False
    frozen: bool = False
    growing: bool = False

    def rate_at(self, step: int) -> float:
        rising = min(1.0, (step + 1) / max(1.0, self.warm_up * self.steps))
        falling = min(1.0, max(LOWEST, (1 - step / self.steps) / self.decay)) if self.decay else 1.0
        return self.rate * rising * falling

    def aims_at(self, step: int) -> Aims:
        dense = max(0.0, 1 - step / (self.dense * self.steps)) if self.dense else 0.0
        return Aims(dense, self.end, self.blind)


ANSWERS = Phase("answers", 2979, 256, 0, 3e-3, warm_up=0.05, decay=0.6, dense=0.4, end=0.5, growing=True)
ENDINGS = Phase("endings", 54, 10, 10_000_000, 3e-4, blind=True, frozen=True)
