"""LeRobot's commands on this project's datasets, plugin and emulator, and this project's programs on what they made.

    python tests/with_lerobot/commands.py [OUT] [WORD ...]     in an environment with LeRobot: make test-lerobot

Prints a table of what was tried; the exit code is 1 if something failed. WORDs: only commands in whose line one occurs.
"""

import os
import subprocess
import sys
import tempfile
import time
from ctypes.util import find_library
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LIMIT_S = 900
ARM = "--robot.type=fairino_fr3 --robot.kind=emulator --robot.start=always --robot.id=emulated"
LEADER = "--teleop.type=swing --teleop.id=swing"
EDIT = "lerobot-edit-dataset --operation.type"
DEMOS, MERGED = (f"--repo_id=local/{name} --root={name}" for name in ("demos", "merged"))
# Trained for two steps a policy moves the arm to the mean of its data: of a swing about the home pose that is near, of
# demonstrations it may be so far off that the guard takes it for a jump and rightly ends the rollout.
POLICY, SWINGING = (f"{name}/checkpoints/last/pretrained_model" for name in ("act", "act_swing"))
TRAIN = (
    "--policy.type=act --policy.device=cpu --policy.pretrained_backbone_weights=null --policy.push_to_hub=false "
    "--steps=2 --batch_size=2 --num_workers=0 --wandb.enable=false --save_freq=2"
)
QUIET = "--play_sounds=false"
# What is tried, in this order: later lines use what earlier ones made.
COMMANDS = (
    *(["lerobot-info"] if find_library("avutil") else ()),  # without FFmpeg torchcodec ends it; the others take PyAV
    "python -m sim.collect episodes=4 seed=0 out=demos",
    f"{EDIT}=info {DEMOS}",
    f'{EDIT}=split {DEMOS} --operation.splits={{"a":[0,1],"b":[2,3]}} --new_root=split',
    f'{EDIT}=merge --operation.repo_ids=["local/a","local/b"] --operation.roots=["split/a","split/b"] '
    "--new_repo_id=local/merged --new_root=merged",
    f"{EDIT}=delete_episodes {MERGED} --operation.episode_indices=[1] --new_repo_id=local/fewer --new_root=fewer",
    f'{EDIT}=remove_feature {DEMOS} --operation.feature_names=["perturbed"] --new_repo_id=local/l --new_root=less',
    f"{EDIT}=recompute_stats {MERGED} --operation.overwrite=true",
    "python -m policies.train data=[merged,fewer,less] out=policy optim.steps=2",
    "cp demos/meta/provenance.json less/meta/",
    "python -m sim.replay data=less episode=3 images=true",
    "python -m sim.export data=demos out=clean",
    f"lerobot-record {ARM} {LEADER} {QUIET} --dataset.repo_id=local/recorded --dataset.root=recorded "
    "--dataset.no_stamp=true --dataset.single_task=swing --dataset.num_episodes=2 --dataset.episode_time_s=4 "
    "--dataset.reset_time_s=2 --dataset.push_to_hub=false",
    "python -m policies.train data=recorded out=policy_recorded optim.steps=2",
    f"lerobot-teleoperate {ARM} {LEADER} --fps=60 --teleop_time_s=5",
    f"lerobot-replay {ARM} {QUIET} --dataset.repo_id=local/demos --dataset.root=demos --dataset.episode=0",
    f"lerobot-train --dataset.repo_id=local/clean --dataset.root=clean --output_dir=act {TRAIN}",
    f"lerobot-train --dataset.repo_id=local/recorded --dataset.root=recorded --output_dir=act_swing {TRAIN}",
    f"lerobot-eval --policy.path={POLICY} --policy.device=cpu --env.type=fairino_fr3 --env.task=pick_place "
    "--eval.n_episodes=1 --eval.batch_size=1 --output_dir=eval",
    f"lerobot-rollout {ARM} {QUIET} --policy.path={SWINGING} --policy.device=cpu --strategy.type=base --duration=5 "
    "--task=swing",
    "lerobot-eval --policy.type=fr3_vla --policy.checkpoint=policy --env.type=fairino_fr3 --env.task=reach "
    "--eval.n_episodes=1 --eval.batch_size=1 --output_dir=eval_ours",
    f"lerobot-rollout {ARM} {QUIET} --policy.type=fr3_vla --policy.checkpoint=policy --strategy.type=base --duration=5 "
    "--fps=20 --task=swing",
)
REFUSED = (  # and what must be said
    (f"lerobot-eval --policy.path={POLICY} --env.type=fairino_fr3 --env.task=stak", "did you mean 'stack'"),
    (f"lerobot-eval --policy.path={POLICY} --env.type=fairino_fr3 --env.fps=30", "fps=30: expected one of"),
    (f"python -m policies.evaluate checkpoint={POLICY} episodes=1", "is a checkpoint of LeRobot, of policy 'act'"),
    ("python -m lerobot_robot_fairino_fr3.serve checkpoint=policy", "python -m policies.serve checkpoint=policy"),
    (
        "lerobot-train --policy.type=fr3_vla --policy.checkpoint=policy --dataset.repo_id=local/clean "
        "--dataset.root=clean --output_dir=none_made",
        "policies.train trains them",
    ),
    ("python -m real.parity data=recorded reference=null images=false", "recorded at 30 frames a second"),
    ("python -m sim.replay data=merged", "nothing to rebuild it from"),  # splitting drops what was drawn
    ("python -m sim.collect episodes=6 seed=0 out=merged", "share files; name a new out=DIR"),
)
WARNINGS = ("Unknown fields",)  # of LeRobot about a dataset's files


def run(line: str, folder: Path) -> tuple[int, float, str]:
    """Return exit code, seconds and what was printed."""
    path = [str(ROOT), str(ROOT / "tests/with_lerobot/teleoperator"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, path)), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    began_s = time.monotonic()
    try:
        done = subprocess.run(
            line.split(), cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        code, printed = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        code, printed = 124, (error.stdout or b"").decode(errors="replace")
    return code, time.monotonic() - began_s, printed


def result(line: str, code: int, printed: str, wanted: str) -> str:
    """Return "" for what went as it should, else what did not."""
    if wanted:
        return "" if code and wanted in printed else f"exit code {code}, not refused with {wanted!r}"
    if code:
        return f"exit code {code}"
    found = [warning for warning in (*WARNINGS, "Could not return to initial position") if warning in printed]
    return f"prints {found[0]!r}" if found else ""


def main(out: Path, words: list[str]) -> int:
    out.mkdir(parents=True, exist_ok=True)
    rows, failed = [], 0
    for line, wanted in [*((line, "") for line in COMMANDS), *REFUSED]:
        if words and not any(word in line for word in words):
            continue
        code, took_s, printed = run(line, out)
        wrong = result(line, code, printed, wanted)
        failed += bool(wrong)
        if wrong:
            print(f"$ {line}\n{printed[-4000:]}\n", file=sys.stderr, flush=True)
        rows.append((line, wrong or ("refused, as it should be" if wanted else "works"), took_s))
        print(f"{rows[-1][1]:40.40s} {took_s:6.0f} s  {line[:120]}", flush=True)
    print("\n| command | result | s |\n| --- | --- | --- |")
    for line, said, took_s in rows:
        print(f"| `{line}` | {said} | {took_s:.0f} |")
    print(f"\n{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(Path(folder), []))
