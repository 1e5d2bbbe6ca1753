"""Between processes: what each measured is left in a key-value store, and put together by each signal's rule.

::

    exchange    leaves, picks up, gives up on those that are missing
    wire        packets as bytes
    merge       several processes' values of one step in one
"""
