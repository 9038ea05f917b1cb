"""Energy that the processors have taken, where the machine tells it; no section of the paper.

Linux counts it for each processor package below `/sys/class/powercap` (RAPL, of Intel and AMD), in microjoules, often
for root alone. It is the energy of the whole package, of all programs. A counter starts again at 0 after some minutes
to hours, so it has to be read now and then.
"""

import threading
import time
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
PERIOD = 30.0  # seconds between two readings, much less than a counter takes to come round


def read_counters(folder: Path = POWERCAP) -> dict[str, tuple[int, int]]:
    """Of every processor package that can be read: its counter and the value after which it starts again (uJ)."""
    found = {}
    for zone in sorted(folder.glob("intel-rapl:*")):
        if zone.name.count(":") != 1:  # a part of a package, which counts it already
            continue
        try:
            counted, largest = (int((zone / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
        except (OSError, ValueError):
            continue
        found[zone.name] = (counted, largest)
    return found


class Meter:
    """Adds up the energy of all packages from when it is made, in a thread that ends with the process."""

    def __init__(self, folder: Path = POWERCAP):
        self.folder, self.joules, self.lock = folder, 0.0, threading.Lock()
        self.last = read_counters(folder)
        if self.last:
            threading.Thread(target=self._go_on, daemon=True).start()

    def watt_hours(self) -> float | None:
        """Energy so far in Wh; None where the machine does not tell it."""
        if not self.last:
            return None
        self._add()
        return self.joules / 3600

    def _add(self) -> None:
        with self.lock:
            now = read_counters(self.folder)
            for zone in now.keys() & self.last.keys():
                (before, _), (after, largest) = self.last[zone], now[zone]
                self.joules += (after - before if after >= before else after + largest - before) / 1e6
            self.last |= now

    def _go_on(self) -> None:
        while True:
            time.sleep(PERIOD)
            self._add()
