"""Time, rows, lengths, residuals and threads. Nothing here knows about gates.

A thread owns its rows for the whole sequence: one launch, no barrier per step. Rows come longest first, so that
masking is a loop bound: a finished row is not touched again, and its state already is its final state.

Shards follow the number of threads. They may, because no bit depends on them: a row's result depends on that row
alone, and the sums over rows (weight gradients) run over all valid (step, row) pairs in one fixed order, steps
ascending and rows longest first, whoever computed them.
"""
