"""What an evaluation asks of a learner after meta-training, one module a scenario.

A scenario is two functions: which parts the work falls into (parts are shared among processes, and kept when an
evaluation is interrupted), and the rows of one part. `bench` is what they measure with.
"""
