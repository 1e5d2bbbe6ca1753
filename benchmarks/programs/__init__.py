"""Published packages that train through Lightning, with and without ``LIGHTNING_DIAG=1``.

    python -m benchmarks.programs --venv DIR [--out FILE]

Makes the virtual environment if it isn't there: the packages of ``requirements.txt``, this checkout, and everything
else from the environment this runs in. Each program trains twice on the CPU with one thread; compared bit by bit are
all weights and buffers, and the numbers the program reports (ours apart). What the report says goes into the table.
"""
