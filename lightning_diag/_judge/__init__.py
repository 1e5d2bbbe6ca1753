"""The host's end of a step, live and in a replay: readings in, findings with a lifecycle out. Knows no torch.

::

    teller          what arrives is judged and told to the sinks
    judge           one finding a rule: opened, confirmed, resolved
    wakes           which rules are shown a reading
    host_signals    what the host adds to it: how the loss is doing
    by_optimizer    what of it is whose, where several optimizers step
"""
