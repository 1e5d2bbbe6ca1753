"""One training step, from the hooks to what is told. Knows the bases of probes, detectors and sinks, and no Lightning.

::

    step         a step that is sampled, and what ends one: probes -> packet -> host -> judge -> sinks
    plain        the short way of a step of which only the loss is wanted: most of a run
    schedule     when to sample, and what it costs
    roster       the probes that are alive, and who brought them
    courier      packets out to the host, readings in
    samples      which samples each of the last steps was made of
    tracer       what was non-finite first
"""
