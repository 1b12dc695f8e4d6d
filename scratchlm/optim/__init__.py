"""How does it change? Optimizers as rows of one table, schedules as pure functions of the step."""

from scratchlm.optim import adamw, muon, rmsprop, sgd

OPTIMIZERS = {"adamw": adamw, "muon": muon, "rmsprop": rmsprop, "sgd": sgd}
"""Each row is a module with ``Config`` and ``build(config, parameters, matrices) -> list of torch optimizers``.

``matrices`` brings whole ones together for those that look at them; None: all is here."""

OptimizerConfig = adamw.Config | muon.Config | rmsprop.Config | sgd.Config
