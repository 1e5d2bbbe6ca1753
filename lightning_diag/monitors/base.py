"""The base of all monitors: a Lightning callback that brings probes and detectors to a shared pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import lightning.pytorch as pl

from lightning_diag._guard import Guard
from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Finding
from lightning_diag.monitors.session import Options, Parts, Session
from lightning_diag.monitors.steps import Steps

if TYPE_CHECKING or find_spec("pytorch_lightning") is None:
    _Callback = pl.Callback
else:
    # Once a callback has a state, Lightning rejects one that isn't of its own namespace.
    import pytorch_lightning

    class _Callback(pl.Callback, pytorch_lightning.Callback):
        """A callback of both packages."""


_sessions: WeakKeyDictionary[Any, Session] = WeakKeyDictionary()


class Monitor(_Callback):
    """A named choice of probes and detectors.

    All monitors on one trainer share one session: the first of them in ``trainer.callbacks`` leads and forwards the
    hooks, the others return at once. A subclass writes :meth:`parts`.

    Attributes:
        stands_in: whether it leaves the trainer to the user's own monitors, where there are any.
    """

    stands_in: ClassVar[bool] = False

    def __init__(self) -> None:
        self._session: Session | None = None
        self._steps: Steps | None = None  # of the run that it leads: all that a hook looks at first
        self._saved: Mapping[str, Any] | None = None

    def parts(self) -> Parts:
        """Return fresh probes and detectors for a run."""
        return Parts()

    def options(self) -> Options | None:
        """Return settings for the run, or None to leave them to others."""
        return None

    # ------------------------------------------------------------------ what users ask

    @property
    def findings(self) -> list[Finding]:
        """All findings of the last run this monitor was on, most severe first."""
        return [] if self._session is None else self._session.settled.findings

    @property
    def diagnosis(self) -> Diagnosis:
        """The findings joined into causes, with the coverage."""
        return Diagnosis() if self._session is None else self._session.settled.diagnosis

    @property
    def run_dir(self) -> Path | None:
        """Folder of the last run's record; None before a run, or where it can't be written."""
        return None if self._session is None else self._session.run_dir

    # ------------------------------------------------------------------ Lightning's hooks, each guarded here

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the run: parameters are final and the optimizers exist."""
        team = _team(trainer)
        if team[0] is not self:
            return
        _retire(trainer)
        session = self._open(team, trainer, pl_module)
        for monitor in team:
            monitor._session, monitor._saved, monitor._steps = session, None, None
        if session is not None:
            self._steps = session.steps
            _sessions[trainer], session.steps.serves = session, id(trainer)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Learn the plan."""
        self._forward(Session.train_start, trainer, trainer)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Decide whether the step is sampled."""
        steps = self._steps
        if steps is None or steps.serves != id(trainer):
            return
        try:
            steps.batch_start(trainer, batch, batch_idx)
        except Exception as error:
            self._broke(trainer, error)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Take the loss."""
        steps = self._steps
        if steps is None or steps.serves != id(trainer):
            return
        try:
            steps.loss(trainer, pl_module, loss)
        except Exception as error:
            self._broke(trainer, error)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure gradients before clipping."""
        steps = self._steps
        if steps is not None and steps.pipeline.sampling:
            self._forward(Session.before_update, trainer, optimizer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Send the step's packet, judge what has arrived."""
        steps = self._steps
        if steps is None or steps.serves != id(trainer):
            return
        try:
            steps.batch_end(trainer, pl_module, outputs)
        except Exception as error:
            self._broke(trainer, error)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """A validation pass begins; the sanity check doesn't count."""
        if not trainer.sanity_checking:
            self._pipeline("validation_start", trainer)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Get ready to capture predictions."""
        self._pipeline("validation_batch_start", trainer)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count a validation batch."""
        self._pipeline("validation_batch", trainer, batch, batch_idx, dataloader_idx, outputs)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Judge the pass."""
        if not trainer.sanity_checking:
            self._forward(Session.validation_end, trainer, trainer)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the run."""
        self._close(trainer, failed=False)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the run of a fit that broke; Lightning calls no other hook then."""
        self._close(trainer, failed=True)

    # ------------------------------------------------------------------ checkpoint and copies

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: plain data, from one of the monitors only."""
        session = self._session
        if session is None or session.lead is not self:
            return {}
        try:
            return session.state_dict()
        except Exception as error:
            session.guard.tell("the state for a checkpoint", error)
            return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Keep a checkpoint's state until the run opens; leaves its argument alone."""
        self._saved = dict(state_dict) or None

    def __getstate__(self) -> dict[str, Any]:
        """A copy or pickle of a monitor is a fresh one: it never writes to this one's record."""
        return {**self.__dict__, "_session": None, "_saved": None, "_steps": None}

    # ------------------------------------------------------------------ inside

    def _open(self, team: list[Monitor], trainer: Any, module: Any) -> Session | None:
        options = Options()
        try:
            options = next((o for o in (m.options() for m in team) if o is not None), options)
            parts = Parts()
            for monitor in team:
                brought = monitor.parts()
                parts.probes += brought.probes
                parts.detectors += brought.detectors
            saved = next((m._saved for m in team if m._saved), None)
            session = Session(trainer, module, parts, options, saved)
            session.lead = self
            return session
        except Exception as error:
            if options.strict or isinstance(error, ConfigurationError):
                raise  # a wrong argument is the user's to know before training starts
            Guard().tell("lightning_diag", error)
            return None

    def _forward(self, call: Callable[..., Any], trainer: Any, *args: Any) -> None:
        if self._steps is None or self._steps.serves != id(trainer):
            return
        try:
            call(self._session, *args)
        except Exception as error:
            self._broke(trainer, error)

    def _pipeline(self, name: str, trainer: Any, *args: Any) -> None:
        self._forward(lambda session: getattr(session.pipeline, name)(*args), trainer)

    def _broke(self, trainer: Any, error: Exception) -> None:
        """Our own code failed outside any one part: nothing more is measured in this run, training goes on."""
        session = self._session
        assert session is not None
        _retire(trainer)
        try:
            session.guard.tell("lightning_diag", error)
        finally:
            self._finish(session, failed=True)

    def _close(self, trainer: Any, *, failed: bool) -> None:
        session = self._session
        if session is None or self._steps is None or self._steps.serves != id(trainer):
            return
        _retire(trainer)
        self._finish(session, failed=failed)

    def _finish(self, session: Session, *, failed: bool) -> None:
        try:
            session.finish(failed=failed)
        except Exception as error:
            session.guard.tell("closing the run", error)


def _team(trainer: Any) -> list[Monitor]:
    """The monitors that share the trainer's run."""
    monitors = [c for c in trainer.callbacks if isinstance(c, Monitor)]
    return [m for m in monitors if not m.stands_in] or monitors[:1]


def _retire(trainer: Any) -> None:
    """The trainer's session, if there is one, gets no more hooks."""
    session = _sessions.pop(trainer, None)
    if session is not None:
        session.steps.serves = 0


def findings(trainer: Any) -> list[Finding]:
    """Return the findings of a trainer's present or last run, from whichever monitors are on it, most severe first."""
    team = _team(trainer)
    return team[0].findings if team else []
