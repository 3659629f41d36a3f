"""Frames a second in training: LeRobot's ACT beside this project's policies, on the same demonstrations and threads.

    python tests/with_lerobot/speed.py [OUT] [EPISODES] [THREADS]     in an environment with LeRobot: make lerobot-speed

LeRobot's figures are those that `lerobot-train` logs. A frame is a look of both cameras and the chunk that follows it.
"cached": the frozen encoders saw each frame once, before training. "anew": as if they did in every step: the time of a
step and of encoding its frames. The last column compares with ACT's update alone, which leaves out how it reads videos.
"""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

from commands import run
from rich.console import Console
from rich.table import Table

ACT_STEPS, ACT_BATCH = 30, 8  # LeRobot's own batch
STEPS, BATCH, BEGIN = 250, 64, 100  # of ours; steps before BEGIN warm up
OURS = {"small": "assets/fusion", "grounded": "assets/fusion"}
LOGGED = re.compile(r"updt_s:([\d.]+) data_s:([\d.]+)")


def timed(line: str, folder: Path) -> tuple[str, float]:
    """Return what a command printed and the seconds it took. SystemExit with what it printed where it fails."""
    code, took_s, printed = run(line, folder)
    if code:
        sys.exit(f"{line}: exit code {code}\n{printed}")
    return printed, took_s


def act(folder: Path) -> tuple[float, float]:
    """Return frames a second of LeRobot's ACT: of its update, and with the reading of videos."""
    said, _ = timed(
        "lerobot-train --policy.type=act --policy.device=cpu --policy.pretrained_backbone_weights=null "
        "--policy.push_to_hub=false --wandb.enable=false --save_checkpoint=false --dataset.repo_id=local/clean "
        f"--dataset.root=clean --output_dir=act --steps={ACT_STEPS} --batch_size={ACT_BATCH} --log_freq=10 "
        "--num_workers=0", folder,
    )  # fmt: skip
    update, data = map(float, LOGGED.findall(said)[-1])
    return ACT_BATCH / update, ACT_BATCH / (update + data)


def ours(policy: str, start: str, folder: Path, frames: int, threads: str) -> tuple[float, float]:
    """Return frames a second of a policy of conf/policy: cached, and with every frame encoded anew."""
    train = f"python -m policies.train data=demos policy={policy} init_fusion={start} optim.threads={threads}"
    brief = "optim.steps=1 optim.warmup_steps=1"
    (_, first), (_, again) = (timed(f"{train} {brief} out={policy}_{i}", folder) for i in (1, 2))
    timed(f"{train} optim.steps={STEPS} optim.batch={BATCH} out={policy}", folder)
    rows = map(json.loads, (folder / policy / "train.jsonl").read_text().splitlines())
    seconds = {row["step"]: row["s"] for row in rows}
    of_a_frame = (seconds[STEPS] - seconds[BEGIN]) / (STEPS - BEGIN) / BATCH
    return 1 / of_a_frame, 1 / (of_a_frame + (first - again) / frames)


def main(out: str | None = None, episodes: str = "10", threads: str = "1") -> None:
    folder = Path(out or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = threads
    timed(f"python -m sim.collect episodes={episodes} seed=0 workers=1 out=demos", folder)
    timed("python -m sim.export data=demos out=clean", folder)
    frames = json.loads((folder / "demos" / "meta" / "info.json").read_text())["total_frames"]
    update, whole = act(folder)
    title = f"training on {frames} frames, threads: {threads}"
    table = Table("policy", "frames a second", "of ACT's update", title=title)
    table.add_row("LeRobot's ACT, its update", f"{update:.1f}", "1")
    table.add_row("LeRobot's ACT, videos read too", f"{whole:.1f}", f"{whole / update:.2f}")
    for policy, start in OURS.items():
        cached, anew = ours(policy, start, folder, frames, threads)
        table.add_row(f"{policy}, cached", f"{cached:.0f}", f"{cached / update:.1f}")
        table.add_row(f"{policy}, encoded anew", f"{anew:.0f}", f"{anew / update:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
