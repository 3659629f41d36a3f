"""Run a program: its configuration from the command line, its errors in one line, hydra's flags as hydra has them."""

import contextlib
import errno
import itertools
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NoReturn, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from sim.core import console
from sim.core.command_line import Words, quoted
from sim.core.config import CONF, as_config, composed, overrides_of, program_options, root_name, store
from sim.core.errors import KEPT, NOTHING_NEW, UserError, reason
from sim.core.help import help_page
from sim.core.signals import end_on_signals

T = TypeVar("T")
# A job's results lie where its `out` is; hydra adds no folder and no log of its own.
QUIET = ("hydra/job_logging=disabled", "hydra/hydra_logging=disabled", "hydra.output_subdir=null", "hydra.run.dir=.")
# What a user puts right by freeing or choosing another place; where a program has more to say, it does.
NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
NOT_REACHED = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EIO, errno.ESTALE)
SHOWN = 200  # letters of a file's name

_log = logging.getLogger(__name__)


def run_program(name: str, schema: type[T], main: Callable[[T], Any], doc: str | None) -> None:
    """Call `main(config)` with what the command line says; a UserError is one line on stderr and exit code 2.

    Every note of an error is a line more. Hydra's flags do what they do: `--multirun` sweeps, each job with an `out`
    of its own, `--cfg` and `--info` show, `--config-dir DIR` adds a user's own groups and presets.
    """
    console.set_up()
    end_on_signals()
    with _one_line_ends():
        Program(name, schema, main, doc or "").run(sys.argv[1:])


@contextlib.contextmanager
def _one_line_ends() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        _end(logging.ERROR, str(error), error, 2)
    except OSError as error:
        if error.errno not in (*NOT_WRITTEN, *NOT_REACHED):
            raise
        done = "write" if error.errno in NOT_WRITTEN else "read or write"
        name = str(error.filename or "the disk")
        name = f"{name[:SHOWN]}..." if len(name) > SHOWN else name
        _end(logging.ERROR, f"cannot {done} {name}: {error.strerror}", error, 2)
    except UnicodeEncodeError as error:  # a name of an older system, or under a locale that is not UTF-8
        if error.reason != "surrogates not allowed":
            raise
        line = f"{error.object} holds bytes that are no UTF-8; rename it, or set LC_ALL=C.UTF-8"
        _end(logging.ERROR, line, error, 2)
    except MemoryError as error:
        _end(logging.ERROR, f"out of memory: {reason(error)}; give less at a time, or fewer workers", error, 2)
    except KeyboardInterrupt as interrupt:
        _end(logging.WARNING, f"interrupted; {getattr(interrupt, KEPT, NOTHING_NEW)}", interrupt, 130)


def printable(line: str) -> str:
    """Return a line with escapes for the control characters that a value may bring along: they end lines, or colour."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)


def _end(level: int, line: str, error: BaseException, code: int) -> NoReturn:
    _log.log(
        level,
        "\n".join([printable(line), *getattr(error, "__notes__", ())]),
        extra=console.event("end", exit_code=code),
    )
    sys.exit(code)


@dataclass(frozen=True)
class Program(Generic[T]):
    """What a user can run: a name in `conf/`, a schema, a function."""

    name: str
    schema: type[T]
    main: Callable[[T], Any]
    doc: str

    def run(self, arguments: Sequence[str]) -> None:
        words = Words.of(arguments)
        if words.help:
            sys.stdout.write(help_page(self.name, self.schema, self.doc, words))
        elif words.sweeps:
            self._sweep(words)
        elif words.flags:
            if words.overrides:  # a slip in them is a line of ours, not of hydra's
                as_config(self.schema, composed(self.name, self.schema, words))
            self._hand_to_hydra(words, overrides_of(self.schema, words))
        else:
            self._job(composed(self.name, self.schema, words))

    def _job(self, config: DictConfig) -> None:
        options = program_options(config)
        console.set_up(options.log_level, options.log_format, options.plugins)
        self.main(as_config(self.schema, config))

    def _sweep(self, words: Words) -> None:
        """Run every job of a sweep; a slip in any of them is an error before the first begins."""
        overrides = overrides_of(self.schema, words)
        parsed = OverridesParser.create().parse_overrides(overrides)
        for job in _jobs(parsed):
            config = composed(self.name, self.schema, replace(words, overrides=tuple(job), sweeps=False))
            as_config(self.schema, config)
        swept = {one.get_key_element() for one in parsed if one.is_sweep_override()}
        base = None if "out" in swept else self._base(words, parsed)
        self._hand_to_hydra(words, [*overrides, *_places(parsed, swept, base)], placed="out" not in swept)

    def _base(self, words: Words, parsed: Sequence[Override]) -> str | None:
        """Return the `out` that the jobs' folders lie in; None where the program has none."""
        plain = tuple(one.input_line or "" for one in parsed if not one.is_sweep_override())
        config = composed(self.name, self.schema, replace(words, overrides=plain, sweeps=False))
        return config.get("out")

    def _hand_to_hydra(self, words: Words, overrides: Sequence[str], *, placed: bool = False) -> None:
        """Let hydra run the jobs. placed: a job's `out` is the folder that hydra gives it."""
        store(self.name, self.schema)
        extra = ["--config-dir", words.config_dir] if words.config_dir else []
        sys.argv = [sys.argv[0], *words.flags, *extra, *QUIET, *overrides]

        def job(config: DictConfig) -> None:
            if placed and "out" in config:
                config.out = HydraConfig.get().runtime.output_dir
            with _one_line_ends():
                self._job(config)

        name = words.config_name or root_name(self.name)
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()


def _jobs(parsed: Sequence[Override]) -> Iterator[list[str]]:
    """Yield the overrides of every job, as hydra's sweeper combines them."""
    values = []
    for one in parsed:
        key = one.get_key_element()
        swept = one.is_sweep_override()
        texts = one.sweep_string_iterator() if swept else (one.get_value_element_as_str(),)
        values.append([f"{key}={text}" for text in texts])
    yield from map(list, itertools.product(*values))


def _places(parsed: Sequence[Override], swept: set[str], out: str | None) -> list[str]:
    """Return overrides that put the job `optim.seed=0` into OUT/optim.seed=0, where the user names no place."""
    given = {one.key_or_group for one in parsed}
    fixed = [one.key_or_group for one in parsed if one.get_key_element() not in swept]
    wanted = {
        "hydra.sweep.subdir": "${hydra.job.override_dirname}",
        "hydra.job.config.override_dirname.exclude_keys": f"[{','.join(fixed)}]",
    }
    if out:
        wanted["hydra.sweep.dir"] = quoted(out)
    return [f"{key}={value}" for key, value in wanted.items() if key not in given]
