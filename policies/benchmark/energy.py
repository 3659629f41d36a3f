"""Energy that the processor counts (Intel's and AMD's RAPL, through Linux's powercap).

The counters are of whole packages: what other programs and an idle core use is counted too.
"""

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """The processor's packages, each with a counter in uJ that begins anew after its largest number."""

    def __init__(self, root: Path = POWERCAP):
        """missing: why nothing can be read, "" where it can."""
        zones = sorted(zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1)  # not parts of packages
        self._counters = [zone / "energy_uj" for zone in zones]
        self.missing = "" if zones else f"{root} has no counters of this processor"
        try:
            self._ranges_uj = [int((zone / "max_energy_range_uj").read_text()) for zone in zones]
            self.read_uj()
        except (OSError, ValueError) as error:
            self.missing = f"{root} cannot be read ({error.__class__.__name__}); only root may on most machines"

    def read_uj(self) -> list[int]:
        """Return every package's counter."""
        return [int(counter.read_text()) for counter in self._counters]

    def joules(self, before_uj: list[int]) -> float:
        """Return what was used since the counters read `before_uj`."""
        now_uj = self.read_uj()
        used = ((now - was) % (size + 1) for now, was, size in zip(now_uj, before_uj, self._ranges_uj, strict=True))
        return sum(used) / 1e6
