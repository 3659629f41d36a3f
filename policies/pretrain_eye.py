"""`python -m policies.pretrain_eye [scenes=60000] [out=assets/eye] [split.pairs=[...]] [work=runs/eye]`

Pretrains the eye on labels that the simulator gives for nothing: scenes of every task, looked at once each by both
cameras. First the scenes are drawn and kept on disk, then the network learns to find pixels, then small networks to
look closer for them, to mix geometry and to see how things are turned. A killed run goes on where it stopped.
"""

import functools
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from policies.core.parts import LanguageConfig
from policies.evaluation.leakage import splits_of
from policies.eye.description import describe
from policies.eye.network import EyeConfig
from policies.eye_training.card import point_errors, turn_errors
from policies.eye_training.load import begun_from, eye_policy, load_eye
from policies.eye_training.loss import network_loss
from policies.eye_training.mixer import fit_mixer, region, see
from policies.eye_training.noted import check_noted, note
from policies.eye_training.pixel import fit_pixels
from policies.eye_training.reader import refit_reader
from policies.eye_training.turn import fit_turn
from policies.eye_training.unknown import with_unknown
from policies.fusion.eye import Eye, EyeFusionConfig
from policies.fusion.grounded_points import GroundedPoints
from policies.fusion.pretrained_fusion import CARD, save_fusion
from policies.fusion.pretrained_fusion import WEIGHTS as EYE
from policies.language.minilm import MiniLmConfig
from policies.pretrained.weights import sha256_of
from policies.scenes.looks import CHUNK, ONE_TASK_SHAPES, ChunkWriter, SceneConfig, crowded
from policies.scenes.sentences import names_pair
from policies.scenes.table import LookTable, WordTable
from policies.training.loop import STATE, follow, train
from policies.training.optim import OptimConfig
from policies.training.ranks import in_ranks, mean_gradients
from policies.training.trainer import Trainer
from sim.core.config import load_group
from sim.core.console import track
from sim.core.errors import NOTHING_NEW, UserError, keeps
from sim.core.files import Lock, write_atomic
from sim.core.options import EACH_ONCE, FOLDER, NOT_EMPTY, Each, at_least, block, one_of, option
from sim.core.paths import find_asset
from sim.core.program import run_program
from sim.core.provenance import plain, provenance
from sim.parallel.worker_config import WorkerConfig
from sim.parallel.workers import map_seeds
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.robots.robot import Robot, RobotConfig
from sim.scene.shapes import SHAPES
from sim.tasks.base import TASKS, Task, single_step_tasks

MIXING_FROM, CARD_FROM = 88, 98  # of a chunk: the scenes from there on train the mixing network; make the card
LEARNS = (ALL := "all", READER := "reader", TURN := "turn", CLOSER := "closer")
CLOSER_LOOKS = {ALL: ("turn", "object_turn", "closer"), READER: (), TURN: ("turn", "object_turn"), CLOSER: ("closer",)}
TASK_NAMES = ("pick_place", *(name for name in single_step_tasks() if name != "pick_place"))
ABOUT = {
    "what": "the eye: where the named things are, from images, words and joints; pretrained in simulation alone",
    "licence": "Apache-2.0, made by `python -m policies.pretrain_eye`",
}
NETWORK, WEIGHTS, SCENES, OPTIONS = "network", "network.pt", "scenes.json", "options.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PretrainEyeConfig(WorkerConfig):
    """Options of the program."""

    scenes: int = option(60000, "to look at, once each, in whole hundreds", at_least(10 * CHUNK))
    out: str = option("assets/eye", "weights and card", FOLDER)
    work: str = option("runs/eye", "scenes and the state of training, 0.23 MB a scene; may be removed afterwards")
    init: str | None = option(None, "a pretrained eye to go on from", FOLDER)
    learns: str = option(
        ALL,
        "reader: only how words are read is learned anew, without what is held out; turn: only how things are "
        "turned; closer: only the closer look for pixels and what follows from it. All three need init=",
        one_of(*LEARNS),
    )
    tasks: tuple[str, ...] = option(
        TASK_NAMES, "whose scenes are drawn, half of them of the first", NOT_EMPTY, EACH_ONCE,
        Each(lambda name: name in TASK_NAMES, f"names of tasks of one step: {', '.join(TASK_NAMES)}"),
    )  # fmt: skip
    network: EyeConfig = block(EyeConfig, "its sizes")
    optim: OptimConfig = block(
        lambda: OptimConfig(steps=3200, batch=24, learning_rate=2e-3, weight_decay=1e-3),
        "how it is trained; `threads` processes take a batch each",
    )
    randomize: RandomizeConfig = block(RandomizeConfig, "how scenes differ: a third as it is, a third more crowded")
    wide: str = option("full", "how the last third differs: one of conf/randomize")
    split: SplitConfig = block(SplitConfig, "what is held out")
    robot: RobotConfig = block(RobotConfig, "the arm")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.split.check_training()
        if self.learns != ALL and not self.init:
            raise UserError(f"learns={self.learns} needs the eye whose other parts are kept: init=DIR")
        if self.learns == ALL and self.optim.batch > (most := len(self.rows()[0])):
            raise UserError(
                f"optim.batch={self.optim.batch} scenes={self.scenes}: expected at most {most}, the scenes that the "
                "network is trained on, or more scenes"
            )
        if self.learns == TURN and not any(_turns(TASKS.get(name)) for name in self.tasks):
            raise UserError(
                f"tasks={list(self.tasks)}: nothing in them is grasped or reached one way round; add pick_place"
            )

    @property
    def looks(self) -> SceneConfig:
        first, *others = self.tasks
        cycle = tuple(one for other in others for one in (first, other))
        wide = load_group("randomize", self.wide, RandomizeConfig)
        variants = (self.randomize, crowded(self.randomize), crowded(wide))
        return SceneConfig(cycle or (first,), variants, self.split, self.robot)

    @property
    def chunks(self) -> int:
        return self.scenes // CHUNK

    @property
    def folder(self) -> Path:
        return Path(self.work) / "scenes"

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows of the network's scenes, of the mixing network's and of the card's; of every chunk some."""
        rows = np.arange(CHUNK * self.chunks)
        part = np.digitize(rows % CHUNK, (MIXING_FROM, CARD_FROM))
        return rows[part == 0], rows[part == 1], rows[part == 2]


def _turns(task: Task) -> bool:
    """Return whether anything of a task matters by how it is turned."""
    return bool(task.target_turns or (task.max_objects and task.handled_objects))


def gather(config: PretrainEyeConfig) -> None:
    """Draw the scenes that are not on disk yet."""
    check_same_scenes(config.folder, config.looks)
    missing = [i for i in range(config.chunks) if not (config.folder / f"sentences-{i:06d}.json").is_file()]
    drawn = map_seeds(functools.partial(ChunkWriter, config.looks, config.folder), missing, config)
    for _ in track(drawn, "looking at scenes", total=len(missing)):
        pass


def check_same_scenes(folder: Path, looks: SceneConfig) -> None:
    """Note what scenes a folder holds. UserError, naming the first difference, where those there are others."""
    check_noted(folder / SCENES, plain(looks))
    if not (folder / SCENES).is_file():
        note(folder / SCENES, plain(looks))


def check_same_network(config: PretrainEyeConfig) -> None:
    """UserError, naming the first option that differs, where the network in `work` was trained by others, or by ones
    that are not known."""
    folder = Path(config.work) / NETWORK
    if (folder / WEIGHTS).is_file() and not (folder / OPTIONS).is_file():
        raise UserError(f"{folder / WEIGHTS} does not say by which options; remove it, or name another work=DIR")
    if (folder / WEIGHTS).is_file() or (folder / STATE).is_file():
        check_noted(folder / OPTIONS, network_options(config))


def network_options(config: PretrainEyeConfig) -> dict[str, Any]:
    """Return what the network follows from, beside what the scenes show."""
    optim = {name: value for name, value in plain(config.optim).items() if name not in ("save_every", "device")}
    begun_from = sha256_of(find_asset(config.init) / EYE) if config.init else None
    return {"scenes": config.scenes, "network": plain(config.network), "optim": optim, "init": begun_from}


def kept(config: PretrainEyeConfig) -> str:
    """Return what an interrupted run leaves behind."""
    scenes = CHUNK * len(list(config.folder.glob("sentences-*.json")))
    network = Path(config.work) / NETWORK
    trained = " and the trained network" if (network / WEIGHTS).is_file() else ""
    state = " and the state of training" if (network / STATE).is_file() else ""
    return f"{scenes} scenes{trained or state} are kept in {config.work}; run again to go on" if scenes else NOTHING_NEW


def open_table(config: PretrainEyeConfig, robot: Robot) -> LookTable:
    """Return the scenes as batches."""
    landmarks = new_eye(config, robot).mixer.arm.landmarks
    language = cast(LanguageConfig, MiniLmConfig())
    return LookTable(config.folder, config.chunks, len(robot.cameras), robot.action_dim, landmarks, language.build())


def new_eye(config: PretrainEyeConfig, robot: Robot) -> Eye:
    """Return an eye for a robot, untrained or the one to go on from. It looks closer only for what that one or this
    training learns: what nothing trains would answer at random."""
    torch.manual_seed(config.optim.seed)
    has = begun_from(config.init, config.network) if config.init else EyeFusionConfig(network=config.network)
    eye = untrained_eye(replace(has, **dict.fromkeys(CLOSER_LOOKS[config.learns], True)), robot)
    describe(eye.mixer.arm, cast(Mapping, eye.mixer.cameras), robot)
    if config.init:
        kept = untrained_eye(has, robot)
        _check_same_split(kept.load_pretrained(find_asset(config.init)), config)
        eye.load_state_dict({**eye.state_dict(), **kept.state_dict()})
    return eye


def untrained_eye(made_for: EyeFusionConfig, robot: Robot) -> Eye:
    """Return an eye with random weights, none of them frozen."""
    return cast(Eye, cast(GroundedPoints, eye_policy(robot, made_for).fusion).finder).requires_grad_()


def _check_same_split(card: dict, config: PretrainEyeConfig) -> None:
    """UserError when the eye to go on from may have seen what is held out."""
    if splits_of(card) != [plain(config.split)]:
        raise UserError(f"init={config.init}: it was trained under another split than this one; give init=null")


def train_network(config: PretrainEyeConfig, rank: int) -> None:
    """Train the network as one of several processes; the first keeps the state, and at the end the weights."""
    robot, out = config.robot.load(), Path(config.work) / NETWORK
    network, table = new_eye(config, robot).network, open_table(config, robot)
    fixed = [camera.name for camera in robot.fixed_cameras]
    loss = functools.partial(network_loss, network, robot.camera_names, fixed)
    trainer = Trainer(network, loss, replace(config.optim, threads=1), share=mean_gradients)
    rows = config.rows()[0]

    def sample(rng: np.random.Generator, size: int):
        own = np.random.default_rng([int(rng.integers(2**31)), rank])
        return table.batch(np.sort(own.choice(rows, size, replace=False)), own)

    if rank:
        follow(trainer, sample)
        return
    train(trainer, sample, out)
    buffer = io.BytesIO()
    torch.save(trainer.averaged().state_dict(), buffer)
    write_atomic(out / WEIGHTS, buffer.getvalue())
    (out / STATE).unlink(missing_ok=True)


def finish(config: PretrainEyeConfig) -> Path:
    """Train what is trained on scenes that the network has not seen, and write weights and card to `config.out`."""
    eye, table = new_eye(config, config.robot.load()), open_table(config, config.robot.load())
    seen_by_network, mixing, _ = config.rows()
    if config.learns == READER:
        _change_reader(eye, table, config)
    elif config.learns == ALL:
        eye.network.load_state_dict(torch.load(Path(config.work) / NETWORK / WEIGHTS, weights_only=True))
    if config.learns in (ALL, CLOSER):
        fit_pixels(eye, table, seen_by_network, log=_progress)
        fit_mixer(eye.mixer, see(eye, table, mixing), log=_progress)
    if config.learns in (ALL, TURN):
        fit_turn(eye, table, seen_by_network, log=_progress)
    card = _measured(eye, table, config)
    save_fusion(Path(config.out), eye.state_dict(), card)
    errors = {name: value for name, value in card.items() if "_error_" in name}
    _log.info("held-out errors: %s; %s", errors, config.out)
    return Path(config.out)


def _measured(eye: Eye, table: LookTable, config: PretrainEyeConfig) -> dict:
    """Return the card; what was not learned anew stays as the card of `init` has it."""
    held_out, made_by = config.rows()[2], provenance({"config": config})
    kept = {} if config.learns == ALL else json.loads((find_asset(cast(str, config.init)) / CARD).read_text())
    card = kept | ABOUT | {"fusion": plain(eye.config)}
    if config.learns == TURN:
        card |= {TURN: made_by}
    else:
        seen = see(eye, table, held_out, seed=1)
        eye.radius.fill_(region(eye.mixer, seen))
        card |= point_errors(eye, seen, table) | made_by
    return card | turn_errors(eye, table, held_out) if config.learns in (ALL, TURN) else card


def _change_reader(eye: Eye, table: LookTable, config: PretrainEyeConfig) -> None:
    """Give an eye a reader that never read of what is held out and takes an unknown word for any kind of thing."""
    untrained, held_out = replace(config, init=None, learns=ALL), config.split.pairs
    sentences = sorted({text for pair in table.sentences for text in pair if text})
    kinds = [name for name in SHAPES if name not in (*ONE_TASK_SHAPES, *config.split.shapes)]
    unknown = with_unknown([text for text in sentences if not names_pair(text, held_out)], kinds, held_out)
    texts = {text for one in unknown for text in (*one.by_unknown, *one.by_kind)}
    words = WordTable(cast(LanguageConfig, MiniLmConfig()).build(), config.folder, {*sentences, *texts})
    fresh = new_eye(untrained, config.robot.load()).network.reader
    eye.network.reader = refit_reader(fresh, eye.network.reader, sentences, words, held_out, unknown, log=_progress)


def _progress(step: int, losses: dict) -> None:
    _log.info("%d %s", step, losses)


def pretrain_eye(config: PretrainEyeConfig) -> Path:
    """Draw scenes, train both networks, write the eye; return its folder."""
    if config.init:  # a wrong one is an error before a scene is drawn
        load_eye(config.init, config.robot.load())
        new_eye(config, config.robot.load())
    with Lock(Path(config.work), "."), keeps(lambda: kept(config)):
        if config.learns == ALL:
            check_same_network(config)
        gather(config)
        open_table(config, config.robot.load())  # the words are encoded once, before several processes read them
        if config.learns == ALL and not (Path(config.work) / NETWORK / WEIGHTS).is_file():
            note(Path(config.work) / NETWORK / OPTIONS, network_options(config))
            in_ranks(functools.partial(train_network, config), config.optim.threads)
        return finish(config)


if __name__ == "__main__":
    run_program("pretrain_eye", PretrainEyeConfig, pretrain_eye, __doc__)
