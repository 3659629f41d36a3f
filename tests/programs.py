"""Every program that is configured: its name in `conf/`, the module a user types, its dataclass."""

import contextlib
import importlib.util
import io
import sys
import typing
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

from policies.benchmark.benchmark import PolicyBenchmarkConfig
from policies.compare.compare import CompareConfig as PolicyCompareConfig
from policies.evaluate import EvaluateConfig
from policies.evaluate_eye import EvaluateEyeConfig
from policies.exit_early import ExitEarlyConfig
from policies.export.export import ExportConfig as PolicyExportConfig
from policies.gpu_check import GpuCheckConfig
from policies.hands_off import HandsOffConfig
from policies.merge import MergeConfig
from policies.pretrain_eye import PretrainEyeConfig
from policies.pretrain_grounding import PretrainGroundingConfig
from policies.prune import PruneConfig
from policies.report.report import ReportConfig
from policies.robustness import RobustnessConfig
from policies.serve import ServeConfig
from policies.tokenize import TokenizeConfig
from policies.train import TrainConfig
from policies.value_map import ValueMapConfig
from real.benchmark import BenchmarkConfig as RealBenchmarkConfig
from real.calibrate.calibrate import CalibrateConfig
from real.emulator.emulator import EmulatorConfig
from real.parity.parity import ParityConfig
from real.rollout.rollout import RolloutConfig
from real.soak.soak import SoakConfig
from rl.compare.compare import CompareConfig
from rl.correct import CorrectConfig
from rl.run.options import RecapConfig
from rl.sb3 import Sb3Config
from rl.watch import WatchConfig
from sim.benchmark.benchmark import BenchmarkConfig
from sim.collect import CollectConfig
from sim.core.program import run_program
from sim.core.structured import alternatives, is_choice, is_schema, nested
from sim.evaluate_expert import EvaluateExpertConfig
from sim.export import ExportConfig
from sim.guard_benchmark.guard_benchmark import GuardBenchmarkConfig
from sim.replay import ReplayConfig
from sim.view import ViewConfig


class Program(NamedTuple):
    module: str
    schema: type


PROGRAMS = {
    "calibrate": Program("real.calibrate", CalibrateConfig),
    "collect": Program("sim.collect", CollectConfig),
    "compare": Program("rl.compare", CompareConfig),
    "correct": Program("rl.correct", CorrectConfig),
    "emulator": Program("real.emulator", EmulatorConfig),
    "evaluate": Program("policies.evaluate", EvaluateConfig),
    "evaluate_eye": Program("policies.evaluate_eye", EvaluateEyeConfig),
    "evaluate_expert": Program("sim.evaluate_expert", EvaluateExpertConfig),
    "exit_early": Program("policies.exit_early", ExitEarlyConfig),
    "export": Program("sim.export", ExportConfig),
    "gpu_check": Program("policies.gpu_check", GpuCheckConfig),
    "guard_benchmark": Program("sim.guard_benchmark", GuardBenchmarkConfig),
    "hands_off": Program("policies.hands_off", HandsOffConfig),
    "merge": Program("policies.merge", MergeConfig),
    "parity": Program("real.parity", ParityConfig),
    "policies_benchmark": Program("policies.benchmark", PolicyBenchmarkConfig),
    "policies_compare": Program("policies.compare", PolicyCompareConfig),
    "policies_export": Program("policies.export", PolicyExportConfig),
    "pretrain_eye": Program("policies.pretrain_eye", PretrainEyeConfig),
    "pretrain_grounding": Program("policies.pretrain_grounding", PretrainGroundingConfig),
    "prune": Program("policies.prune", PruneConfig),
    "real_benchmark": Program("real.benchmark", RealBenchmarkConfig),
    "recap": Program("rl.recap", RecapConfig),
    "replay": Program("sim.replay", ReplayConfig),
    "report": Program("policies.report", ReportConfig),
    "robustness": Program("policies.robustness", RobustnessConfig),
    "rollout": Program("real.rollout", RolloutConfig),
    "sb3": Program("rl.sb3", Sb3Config),
    "serve": Program("policies.serve", ServeConfig),
    "sim_benchmark": Program("sim.benchmark", BenchmarkConfig),
    "soak": Program("real.soak", SoakConfig),
    "tokenize": Program("policies.tokenize", TokenizeConfig),
    "train": Program("policies.train", TrainConfig),
    "value_map": Program("policies.value_map", ValueMapConfig),
    "view": Program("sim.view", ViewConfig),
    "watch": Program("rl.watch", WatchConfig),
}


def schemas(schema: type) -> list[type]:
    """Return a program's dataclass and those nested in it, of a Choice every registered one."""
    found, waiting = [], [schema]
    while waiting:
        one = waiting.pop()
        if is_choice(one):
            waiting += [one.registry.get(name) for name in one.registry]
        elif is_schema(one) and one not in found:
            found.append(one)
            waiting += [part for _, kind in nested(one) for part in items(kind)]
    return found


def items(kind: Any) -> set:
    """Return the types that a value of `kind` may be of, of a list those of its items."""
    return {part for one in alternatives(kind) for part in typing.get_args(one) or (one,)}


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def ended(program: str, *words: str, main: Callable[[Any], Any] | None = None) -> Ended:
    """Run a program in this process to its end; `main` instead of its work."""
    module, schema = PROGRAMS[program]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", [module, *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            run_program(program, schema, main or main_of(module), "")
        except SystemExit as end:
            code = int(end.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


def main_of(module: str) -> Callable[[Any], Any]:
    """Return what a program does with its configuration."""
    is_package = importlib.util.find_spec(module).submodule_search_locations  # pyright: ignore[reportOptionalMemberAccess]
    found = importlib.import_module(f"{module}.__main__" if is_package else module)
    return next(
        getattr(found, name)
        for name in (
            "main",
            "collect",
            "make_watch",
            "write_report",
            "evaluate_eye",
            "pretrain_eye",
            "exit_early",
            "prune",
            "merge",
            "value_map",
        )
        if hasattr(found, name)
    )
