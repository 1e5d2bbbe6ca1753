"""The fault zoo: small real trainings with one known fault (or none), and the sheet that scores the detectors on them.

``python -m benchmarks.zoo run`` trains, ``python -m benchmarks.zoo score`` replays the detectors over the records.

::

    data/  nets/  build what is trained on, and what: one module a set
    plan                one training as data: sizes, optimizer, and the places where an operator may cut in
    tasks               task name -> healthy plan
    operators/          one fault (or one healthy variation) each: change a plan
    truth               what a good linter says of each operator
    grid                which task x operator x severity; the sets: dev, seen, former, previous, last, report
    modules  gan        the LightningModules that follow a plan
    train  sweep        one run; many runs
    digest              which measuring code made a record
    harm                was the run really harmed? measured against the healthy twin of the same seed
    replay  outcome  score   detectors over the records; recall, false alarms, delay, place, cause
    live  live_tools    tools that hook into a training, run on a drawn part of the set
    comparison  peers   other tools' rules over the same records, beside ours
    versus              two versions of the rules over the same records
    curves  tables      what is drawn of it; Markdown
"""
