"""Hostile input, made by the thousand: docs/hostile-input.md says what is tried and what must hold.

A target makes cases, each a few bytes that say all of it, and holds what comes of one against what must hold. The
suite runs some thousands of each with a fixed seed, and whatever lies in `corpus/`; `python -m tests.fuzz` runs
others, as long as it is told to, and puts what fails into the corpus.
"""
