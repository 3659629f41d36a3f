"""Tokens of chunks on a small dataset: the counts and errors that must be, and the table."""

import pytest
from learning import write_demos

from policies.tokenize import TokenizeConfig, main, rows
from sim.core.errors import UserError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(write_demos(tmp_path_factory.mktemp("data") / "demos", lengths=(25, 24, 26, 22, 23, 27)))


def test_finer_tokens_lose_less_and_fast_needs_fewer(data, caplog):
    config = TokenizeConfig(data=data, chunk=8, scales=(2.0, 20.0), bins=(16, 256))
    coarse_bins, fine_bins, coarse, fine = rows(config)
    assert coarse_bins["tokens"] == fine_bins["tokens"] == 8 * 7
    assert fine_bins["bits"] == 2 * coarse_bins["bits"] == 8 * 7 * 8
    assert fine_bins["rms_mrad"] < coarse_bins["rms_mrad"] and fine["rms_mrad"] < coarse["rms_mrad"] / 3
    assert 1 <= coarse["tokens"] < fine["tokens"] <= 8 * 7
    with caplog.at_level("INFO"):
        main(config)
    assert "tokens of a chunk" in caplog.text


def test_a_dataset_that_leaves_nothing_to_measure_is_one_line(data):
    with pytest.raises(UserError, match="has 6 episodes, expected five of 40 steps or more"):
        rows(TokenizeConfig(data=data, chunk=40))
