"""Size of the binary, memory when idle, time from start to ready with one user and with 100,000."""

import statistics
import time

from kit import BINARY, USER


def run(bench):
    print(f"\nbinary                            {BINARY.stat().st_size / 1e6:.1f} MB")
    idle = bench.valija()
    seconds = idle.start()
    time.sleep(2)
    resident, proportional = idle.memory()
    idle.stop()
    print(f"start to ready, one user          {seconds * 1000:.0f} ms")
    print(f"idle memory                       {resident / 1024:.1f} MiB resident, {proportional / 1024:.1f} MiB proportional")
    crowd = bench.valija(users="".join(f"  user{number}: {{}}\n" for number in range(100_000)) + f"  {USER}: {{}}\n")
    times = []
    for _ in range(3):
        times.append(crowd.start())
        resident, proportional = crowd.memory()
        crowd.stop()
    print(f"start to ready, 100,000 users     {statistics.median(times) * 1000:.0f} ms; then {resident / 1024:.1f} MiB resident")
