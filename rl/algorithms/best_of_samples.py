"""What algorithms share whose critic chooses, at run time, among samples of a policy that imitates all data."""

from abc import abstractmethod

from policies.core.interface import Policy
from policies.models import checkpoint
from policies.models.chunk_critic import ChunkCritic, has_critic, save_critic
from rl.algorithms.all_data import AllData
from rl.learning.chunks import check_draws_chunks
from rl.learning.config import LearningConfig
from rl.learning.round import Round


class BestOfSamples(AllData):
    """Imitation of all data, and a critic beside the checkpoint."""

    def check(self, config: LearningConfig, policy: Policy) -> None:
        check_draws_chunks(policy)

    @abstractmethod
    def fit_critic(self, data: Round, policy: Policy) -> ChunkCritic:
        """Return the critic of the round's data; policy: the improved one."""

    def improve(self, data: Round) -> None:
        super().improve(data)
        if not has_critic(data.policy):
            policy, _ = checkpoint.load(data.policy)
            save_critic(data.policy, self.fit_critic(data, policy))
