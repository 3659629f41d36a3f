"""DSRL (Wagenmaker et al. 2025): soft actor-critic in the noise space of the policy's flow; the policy is frozen.

    w ~ actor(s);  chunk = flow(s, w);  r = -1 a chunk, and for a failure what the time limit would have held
    Q <- argmin E (r + gamma (min_k Q_k'(s', w') - alpha log actor(w'|s')) - Q_k(s, w))^2
    actor <- argmax E min_k Q_k(s, w) - alpha log actor(w|s)

Learned by stable-baselines3's SAC in episodes that it plays itself, `online.episodes` of them: the noise of recorded
rollouts is not recorded. The mean of the actor is played.

Departures: of the 112 numbers of a chunk's noise SAC steers the DIRECTIONS that move chunks most (a least-squares fit
of the policy's samples at recorded frames), the others stay as drawn. One noise for all steps of a chunk, the
paper's way to few numbers, is none that this head was trained with: it solves nothing (0 of 40 episodes of pick_place).
A killed training begins anew.
"""

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from policies.core.inputs import Inputs
from policies.core.interface import Policy
from policies.core.parts import Head
from policies.models import checkpoint, companion
from policies.models.noise_actor import NAME, NoiseActor, NoiseActorSizes, save_noise_actor
from policies.models.vla import Vla
from policies.processing.data import EpisodeTable, FrameInputs, Source
from policies.processing.observation import ObservationProcessor
from policies.training.fit import start_from
from rl.advantage.labels import Labels, kept_alone
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.learning.config import LearningConfig
from rl.learning.online import OnlineLog, check_newest_chunk_alone, world_of
from rl.learning.retrain import describe_round
from rl.learning.round import Round
from rl.online.noise_env import NoiseEnv
from sim.core.errors import UserError
from sim.envs.simulation import SimulationConfig
from sim.episode import results
from sim.episode.loop import EpisodeResult

DIRECTIONS = 6
FRAMES, SAMPLES = 400, 32  # that they are found from
GAMMA, LEARNING_RATE, BATCH, STEPS_A_CHUNK = 0.99, 3e-4, 256, 2
RANDOM_CHUNKS = 0.5  # times the episodes: before the actor decides


@ALGORITHMS.register("dsrl")
class Dsrl(Algorithm):
    """A noise actor beside the pretrained checkpoint."""

    plays = True

    def check(self, config: LearningConfig, policy: Policy) -> None:
        check_newest_chunk_alone(policy)
        if not isinstance(policy, Vla) or type(policy.head).from_noise is Head.from_noise:
            raise UserError("algorithm=dsrl chooses the noise of a flow; expected policy.head.name=flow")

    def label(self, data: Round) -> Labels:
        """Nothing is imitated beyond what the pretrained policy was shown."""
        return kept_alone(data.pool.demonstrated)

    def improve(self, data: Round) -> None:
        if companion.is_there(data.policy, NAME):
            return
        world, seeds = world_of(data.rollouts), data.config.online.seeds(data.number)
        policy, before = checkpoint.load(data.pretrained)
        processor = ObservationProcessor(policy)
        actor = new_actor(policy, frames_of(data, processor), data.config.retrain.seed)
        learn(actor, policy, world, seeds, data)
        start = start_from(policy, before)
        played = {**start, "seeds": [*start.get("seeds", []), [seeds.start, seeds.stop - 1]]}
        checkpoint.save(data.policy, policy, describe_round(data, processor, played))
        save_noise_actor(data.policy, actor)


def frames_of(data: Round, processor: ObservationProcessor) -> Inputs:
    """Return the inputs at random frames of this round's rollouts."""
    root = data.rollouts[0]
    table, rng = EpisodeTable(Source(root)), np.random.default_rng(data.config.retrain.seed)
    rows = np.sort(rng.choice(len(table.frame), min(FRAMES, len(table.frame)), replace=False))
    return FrameInputs(table, processor, data.config.workers)(rows)


@torch.no_grad()
def new_actor(policy: Policy, frames: Inputs, seed: int) -> NoiseActor:
    """Return an actor with random weights that knows directions and scales from these frames."""
    generator = torch.Generator().manual_seed(seed)
    many = Inputs.concatenate([frames] * SAMPLES)
    noise = torch.randn((len(many), policy.config.chunk, policy.spec.action_dim), generator=generator)
    chunk = policy.steer(many, noise).chunk[:, : policy.config.execute]
    basis = moving_directions(*(x.flatten(1).unflatten(0, (SAMPLES, len(frames))) for x in (noise, chunk)))
    embedding = policy.embedding(frames).float()
    actor = NoiseActor(NoiseActorSizes(embedding.shape[1], noise.shape[1], noise.shape[2], len(basis)))
    actor.mean.copy_(embedding.mean(0))
    actor.std.copy_(embedding.std(0).clamp(min=1e-3))
    actor.basis.copy_(basis)
    return actor


def moving_directions(noise: Tensor, chunk: Tensor) -> Tensor:
    """Return the DIRECTIONS (K, N) of noise that move chunks most, orthonormal.

    noise (S, B, N), chunk (S, B, M): S samples at each of B frames. The chunk is fitted linearly, about its mean at a
    frame; directions are the fit's first singular vectors.
    """
    away = [(x - x.mean(0)).flatten(0, 1) for x in (noise, chunk / chunk.std((0, 1)).clamp(min=1e-6))]
    fitted = torch.linalg.lstsq(*away).solution  # (N, M)
    return torch.linalg.svd(fitted, full_matrices=False).U[:, :DIRECTIONS].T.contiguous()


def learn(actor: NoiseActor, policy: Policy, world: SimulationConfig, seeds: range, data: Round) -> None:
    """Play and learn; the actor's weights become those of SAC's mean."""
    from stable_baselines3 import SAC  # a second's import: only who asks waits
    from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes
    from stable_baselines3.common.logger import Logger

    config, ended = data.config, Ended(data)
    torch.set_num_threads(1)
    env = NoiseEnv(world, policy, actor, itertools.cycle(seeds), ended)  # one more is begun than played
    episodes = config.online.episodes
    sac = SAC(
        "MlpPolicy", env, LEARNING_RATE, buffer_size=(episodes + 1) * env.most_chunks, batch_size=BATCH, gamma=GAMMA,
        learning_starts=round(RANDOM_CHUNKS * episodes), gradient_steps=STEPS_A_CHUNK, seed=config.retrain.seed,
        policy_kwargs={"net_arch": [actor.sizes.hidden] * 2}, device="cpu",
    )  # fmt: skip
    sac.set_logger(Logger(None, []))  # its own makes a folder in /tmp
    sac.learn(episodes * env.most_chunks, callback=StopTrainingOnMaxEpisodes(episodes))
    env.close()
    learned = [one for one in (*sac.actor.latent_pi, sac.actor.mu) if isinstance(one, nn.Linear)]
    for mine, theirs in zip((one for one in actor.net if isinstance(one, nn.Linear)), learned, strict=True):
        mine.load_state_dict(theirs.state_dict())


class Ended:
    """Logs how episodes end, `online.updates` times."""

    def __init__(self, data: Round):
        self._log, self._rows, self._played = OnlineLog(data.folder), [], 0
        self._config = data.config.online

    def __call__(self, result: EpisodeResult) -> None:
        self._rows.append(results.row(result))
        self._played += 1
        if self._played * self._config.updates % self._config.episodes < self._config.updates:
            self._log.add(self._rows)
            self._rows = []
