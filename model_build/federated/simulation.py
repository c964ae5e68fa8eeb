"""A federation on this machine, as a program: `python -m model_build.federated.simulation`, with flwr.

The job is named by the environment. Lines on stdout say how the rounds went; the weights are in the job's file. It ends
when its stdin does.
"""

from __future__ import annotations

import os
import sys

from flwr.app import Context, RecordDict

from model_build.errors import UserError
from model_build.federated import client, server
from model_build.federated.job import Job
from model_build.federated.local_grid import RUN, LocalGrid


def main() -> int:
    import torch

    torch.set_num_threads(1)  # clients are forked from here, and threads would not come along
    job = Job.located()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    number = int(job.clients["number"])
    grid = LocalGrid(client.app, number, at_once=max(1, min(number, cores // job.threads)))
    context = Context(run_id=RUN, node_id=0, node_config={}, state=RecordDict(), run_config={})
    try:
        server.app(grid, context)
    except UserError:  # said on stdout already
        return 1
    finally:
        grid.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
