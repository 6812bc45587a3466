"""Many runs at once: which (sweeps), in the processes of this machine, or on a cluster's nodes."""

from remem.jobs.sweeps import FailedRuns, Job, Jobs, collect, sweep
