"""The running service: topology, stages and threads, and the commands that run or replay it. Start at `topology`."""
