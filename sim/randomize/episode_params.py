"""Everything that one episode draws: its layout and its randomization."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sim.core import records
from sim.core.errors import UserError
from sim.randomize.randomization import Randomization
from sim.scene.layout import Layout


@dataclass(frozen=True)
class EpisodeParams:
    """What rebuilds an episode. A dataset keeps the record, a column `draw/NAME` each."""

    layout: Layout
    randomization: Randomization

    def to_record(self) -> dict[str, Any]:
        """Return every drawn value by name: numbers, texts and flat lists."""
        return {**self.layout.to_record(), **records.to_record(self.randomization)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], layout_type: type[Layout] = Layout) -> Self:
        """Return the parameters of a recorded episode; layout_type: that of its task. UserError when one is missing."""
        try:
            return cls(layout_type.from_record(record), records.from_record(Randomization, record))
        except KeyError as error:
            raise UserError(f"the episode's record lacks {error.args[0]!r}: another task or version") from error
