"""What algorithms share that play with the policy as it is, learn from that, and play again.

    for k in 0 .. online.updates - 1
        play `online.episodes` / `online.updates` episodes with pi_k, `most_draws` of each seed
        pi_{k+1} <- what `update` makes of pi_k and of these

Files in OUT/round_k/update_j:
    rollouts_DRAW/      datasets of the episodes
    policy/             the checkpoint that they lead to; the last update's is copied to OUT/round_k/policy

A killed run goes on at the episode, or the gradient step, that it had reached.
"""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from policies.core.interface import Policy
from policies.models import checkpoint
from rl.advantage.labels import Labels, kept_alone
from rl.algorithms.base import Algorithm
from rl.data.pool import Pool
from rl.data.rollouts import Behaviour, record_rollouts
from rl.learning.chunks import check_draws_chunks
from rl.learning.config import LearningConfig
from rl.learning.online import OnlineLog, check_newest_chunk_alone, world_of
from rl.learning.round import Round
from sim.core.errors import UserError
from sim.envs.simulation import SimulationConfig


class OnPolicy(Algorithm):
    """Updates of the pretrained policy by its own episodes."""

    plays = True
    most_draws: ClassVar[int] = 1  # episodes of each seed; fewer where an update plays fewer

    def check(self, config: LearningConfig, policy: Policy) -> None:
        check_newest_chunk_alone(policy)
        check_draws_chunks(policy)
        online = config.online
        if self.most_draws > 1 and online.episodes < 2 * online.updates:
            raise UserError(
                f"online.episodes={online.episodes} online.updates={online.updates}: expected at least "
                f"{2 * online.updates} episodes: what two of one seed make is compared, in every update"
            )

    def label(self, data: Round) -> Labels:
        """Nothing is imitated beyond what the pretrained policy was shown."""
        return kept_alone(data.pool.demonstrated)

    def episodes(self, data: Round) -> int:
        """Return how many are played in the round."""
        return data.config.online.episodes

    def draws(self, data: Round) -> int:
        """Return how many episodes of each seed are played."""
        return max(min(self.most_draws, self.episodes(data) // data.config.online.updates), 1)

    def improve(self, data: Round) -> None:
        if data.is_trained:
            return
        world, log = world_of(data.rollouts), OnlineLog(data.folder)
        policy, played = data.pretrained, []
        for k in range(data.config.online.updates):
            played.append(self.play(data, world, k, policy))
            log.add(outcomes(played[-1].pool), 0, **self.notes(played))
            policy = played[-1].policy
            if not played[-1].is_trained:
                self.update(data, played)
        checkpoint.save(data.policy, *checkpoint.load(policy))

    def play(self, data: Round, world: SimulationConfig, k: int, policy: Path) -> Round:
        """Return the recorded episodes of update k; the round's pretrained policy is the one that played them."""
        config, folder = data.config, data.folder / f"update_{k}"
        episodes, draws = max(self.episodes(data) // config.online.updates, 1), self.draws(data)
        n = episodes // draws
        seeds = config.online.seeds(data.number)[k * n : (k + 1) * n]
        roots = [
            record_rollouts(folder / f"rollouts_{d}", world, Behaviour(str(policy), 1.0, draw=d), seeds, config)
            for d in range(draws)
        ]
        return data.part(folder, roots, roots, pretrained=policy)

    def notes(self, played: list[Round]) -> dict[str, float]:
        """Return what else is logged of the newest update."""
        return {}

    @abstractmethod
    def update(self, data: Round, played: list[Round]) -> None:
        """Write the checkpoint of the newest update, the last of `played`, from the policy that played it."""


def outcomes(pool: Pool) -> list[dict]:
    """Return how episodes ended, as `sim.episode.results.summary` takes it."""
    ends = zip(pool.success.tolist(), (pool.length / pool.fps).tolist(), strict=True)
    return [{"success": success, "time_s": time_s} for success, time_s in ends]
