"""All cores with one command: several members of the group on this machine, started, watched and stopped as one.

children    child processes that never outlive this one
member      one of the processes: its settings, its life, what it reports
lives       what follows when a process ends: nothing, another start after a while, or the end of all
supervisor  starts them, looks after them, stops them
endpoints   `/metrics`, `/healthz`, `/readyz`, `/status` of all processes at one address
merging     the metrics of several processes as one page
"""

from processor.supervisor.supervisor import available_cores, supervise

__all__ = ["available_cores", "supervise"]
