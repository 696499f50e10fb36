"""`make slow-store`: a job whose store passes 1 MiB/s, then answers 503 for ten minutes, then works again.

| | |
|---|---|
| `gate.py` | what stands between the job and its store: one rate for all, or 503 for all |
| `limit.py` | the memory limit of a worker, as a container has it |
| `workers.py` | the processes of the job, started again as a kubelet does |
| `output.py` | the job, and whether every row is there once, whole |
| `run.py` | the phases, what is measured in each, and the verdict |
"""
