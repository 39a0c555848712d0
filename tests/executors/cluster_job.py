"""A job on a cluster of its own that keeps what is finished: run it, lose the cluster, run it again."""

from __future__ import annotations

import sys
from pathlib import Path

import jobs

from frugalrec.executors import Shard, executing
from frugalrec.executors.ray import Ray

if __name__ == "__main__":
    folder = sys.argv[1]
    with executing(Ray(workers=2, checkpoints=str(Path(folder) / "parts"))) as executor:
        from ray import cloudpickle

        cloudpickle.register_pickle_by_value(jobs)
        shards = [Shard((x, folder), f"shard-{x}") for x in range(8)]
        print(sum(float(r.load()["y"][0]) for r in executor.map(jobs.slowly_noted, shards)))
