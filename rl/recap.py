"""`python -m rl.recap [+exp=pick_place] [out=DIR]`: RECAP, advantage-conditioned offline RL (pi*-0.6).

    D <- demonstrations;  pi_0 <- imitation on D with indicator POSITIVE
    for k = 1..K
        D   <- D + autonomous episodes of pi_{k-1} + episodes in which the expert intervenes
        V_k <- cross-fitted on all of D
        I   <- [A > epsilon], A from V_k; epsilon: a fraction of this round's rollouts is positive;
               1 under interventions that succeeded
        pi_k <- from pi_0, on all of D with indicators I, dropped in 30 % of the samples

Departures: imitation on the task's demonstrations stands for both pre-training and SFT, as there is one
task; V_k is fitted from scratch and cross-fitted, as few episodes are memorized otherwise; a minimum of
every batch is demonstrations, as rounds are reported to crowd them out; interventions are recorded where
autonomous episodes failed. Demonstrations are labelled by V_k with the same epsilon. Every policy is
compared with pi_0 on the same seeds. A killed run goes on where it stopped.

rollouts=[DIR,...] takes episodes that any program recorded in place of the round's own, those of `real.rollout` with a
person's interventions among them; success is what their metadata says, on the robot by the operator's key. Give the
demonstrations and the policy that acted, demos=DIR pretrained=DIR.

algorithm=NAME labels and improves in another way, on the same data; rl/algorithms has RECAP's controls.
"""

from pathlib import Path

from rl.run.kept import kept
from rl.run.offline_run import OfflineRun
from rl.run.options import RecapConfig
from sim.core.errors import keeps
from sim.core.files import Lock
from sim.core.program import run_program
from sim.core.tracker import Tracker, open_tracker


def recap(config: RecapConfig, tracker: Tracker | None = None) -> Path:
    """Run all rounds; return the checkpoint of the last."""
    with Lock(config.root, "."):
        run = OfflineRun(config, tracker)
        play(run, config)
    return run.policy(config.rounds)


def play(run: OfflineRun, config: RecapConfig) -> None:
    """Run every stage that is not done yet."""
    run.collect_demonstrations()
    run.imitate()
    run.evaluate(0)
    run.evaluate_expert()
    for k in range(1, config.rounds + 1):
        run.collect(k)
        run.label(k)
        run.improve(k)
        run.evaluate(k)
        run.check_indicator(k)
    run.report()


def main(config: RecapConfig) -> None:
    with open_tracker(config.tracker, config.root, config) as tracker, keeps(lambda: kept(config.folders)):
        recap(config, tracker)


if __name__ == "__main__":
    run_program("recap", RecapConfig, main, __doc__)
