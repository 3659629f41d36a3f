"""iRe-VLA (Guo et al. 2025): reinforcement of the action head alone, and supervision of everything, in turns.

    stage 1   head  <- online RL, all else frozen;  D_RL <- D_RL and the episodes that succeeded
    stage 2   all   <- imitation of demonstrations and D_RL

Both once an update; the first policy is the pretrained one. A round's gradient steps are shared by all stages.

Departures: stage 1 is a GRPO update, as the paper's PPO is with a critic and a likelihood that a flow does not have.
Demonstrations are `demo_share` of a batch of stage 2 at least.
"""

from dataclasses import replace
from pathlib import Path

from policies.models import checkpoint
from rl.advantage.labels import Labels, kept_alone
from rl.algorithms.base import ALGORITHMS
from rl.algorithms.grpo import GROUP, group_advantage
from rl.algorithms.on_policy import OnPolicy
from rl.learning.policy_gradient import follow_gradient
from rl.learning.retrain import retrain
from rl.learning.round import Round


@ALGORITHMS.register("ire_vla")
class IreVla(OnPolicy):
    """A reinforced head, then imitation of what succeeded."""

    most_draws = GROUP

    def update(self, data: Round, played: list[Round]) -> None:
        newest = played[-1]
        head = newest.folder / "head"
        if not (head / checkpoint.WEIGHTS).is_file():
            follow_gradient(newest, group_advantage(newest, self.draws(data)), head, actions_alone=True, stages=2)
        learned = supervised(data, played, head)
        learned.write_labels(successes(learned), "ire_vla")
        retrain(learned, 1.0)


def supervised(data: Round, played: list[Round], head: Path) -> Round:
    """Return the data of stage 2, which begins at the checkpoint `head` and writes the newest update's."""
    config = data.config
    steps = max(config.retrain.steps // (2 * config.online.updates), 1)
    brief = replace(config, retrain=config.retrain.shortened(steps))
    online = [root for one in played for root in one.datasets]
    demonstrations = [root for root in data.datasets if root not in data.rollouts]
    return data.part(played[-1].folder, [*demonstrations, *online], online, pretrained=head, config=brief)


def successes(data: Round) -> Labels:
    """Return labels that draw demonstrations, successful episodes and interventions, all alike."""
    return kept_alone(data.pool.exemplary | data.pool.demonstrated)
