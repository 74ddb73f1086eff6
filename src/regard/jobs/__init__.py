"""Long work that outlives the process that does it: planned, done in parts, concluded, notified.

The queue is procrastinate's, in the same PostgreSQL as everything else; what a job is, and what came of it, is in
tables of our own. `work` says what a kind of job must give, `runner` takes the steps, `worker` has them taken.
"""
