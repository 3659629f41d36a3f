"""How much is drawn: a little in `make test`, as much as is asked for by `make fuzz DRAWS=N SEED=K`."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy


@pytest.fixture
def fuzz(request) -> Callable[[SearchStrategy, Callable[[Any], None]], None]:
    """Call a check with what a strategy draws; the same seed draws the same."""
    draws, number = request.config.getoption("draws"), request.config.getoption("fuzz_seed")
    chosen = settings(max_examples=draws, deadline=None, database=None, suppress_health_check=list(HealthCheck))

    def run(drawn: SearchStrategy, check: Callable[[Any], None]) -> None:
        chosen(seed(number)(given(drawn)(check)))()

    return run
