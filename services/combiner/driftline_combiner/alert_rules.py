"""Raises alerts from what the combiner scores and from the shifts of columns that inference reports.

Which alerts: `drift` of the blend's error or of a column, `anomaly` of a truth, `negative-skill` of the strategy.
"""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from driftline.arrays import Floats, Mask
from driftline.messages import Alert, Forecast
from driftline.scoring import PUBLISHED
from driftline.streams.definition import StreamDefinition
from driftline.worker.parts import UnreadableState
from driftline_combiner.drift import RIVER, Change, DriftDetector
from driftline_combiner.intervals import Anomalies
from driftline_combiner.prequential import CUT, Scored
from driftline_combiner.state import SavedDetectors

ERROR_SIZE = 0.6
"""An error raises an alert at this share of the size at which a column's move does: errors are milder."""
STILL = (0.0, 0.0)
"""The shift of a column that is where it has been."""


class AlertRules:
    """The drift detectors of all series of a stream. on_alert: gets the stream and kind of each alert."""

    def __init__(self, stream: StreamDefinition, on_alert: Callable[[str, str], None]) -> None:
        self._stream = stream
        self._on_alert = on_alert
        self._columns = [name for name, angle in zip(stream.columns, stream.angles, strict=True) if not angle]
        self._settings = f"{stream.drift.model_dump_json()} river {RIVER}"
        self._detectors: dict[str, dict[str, DriftDetector]] = {}

    def add(self, key: str) -> None:
        self._detectors[key] = {name: self._detector(name) for name in (PUBLISHED, *self._columns)}

    def remove(self, key: str) -> None:
        del self._detectors[key]

    def _detector(self, subject: str) -> DriftDetector:
        size = self._stream.drift.size
        return DriftDetector(self._stream.drift, ERROR_SIZE * size if subject == PUBLISHED else size)

    def dump(self, key: str) -> SavedDetectors:
        states = {self._watched(subject): detector.dump() for subject, detector in self._detectors[key].items()}
        return SavedDetectors(self._settings, states)

    def load(self, key: str, saved: SavedDetectors) -> None:
        """Takes up what `dump` gave: the detectors of what is still watched, unless they are set otherwise by now, or
        another version of river saved them. Raises UnreadableState."""
        if saved.settings != self._settings:
            return
        for subject, detector in self._detectors[key].items():
            if (state := saved.states.get(self._watched(subject))) is not None:
                _load(detector, state)

    def load_former(self, key: str, states: Sequence[bytes]) -> None:
        """The same of release 0.1.0, which kept their states in order. Raises UnreadableState."""
        detectors = self._detectors[key].values()
        if len(states) != len(detectors):
            raise UnreadableState(f"found {len(states)} drift detectors, expected {len(detectors)}")
        for detector, state in zip(detectors, states, strict=True):
            _load(detector, state)

    def _watched(self, subject: str) -> str:
        """The error is that of the first horizon."""
        return f"error {self._stream.horizon[0]}" if subject == PUBLISHED else f"column {subject}"

    def drifts(self, part: Sequence[Forecast], scored: Scored, *, late: bool = False) -> list[list[Alert]]:
        """Per series the alerts of what has changed: the blend's error at the first horizon, and the columns.

        late: the columns of these messages were examined before.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            wrong = np.abs(scored.error[:, 0, -1]) / (CUT * np.sqrt(scored.scale[:, 0]))
        columns = () if late else self._columns
        errors = np.minimum(wrong, 1.0).tolist()
        return [self._changes(message, error, columns) for message, error in zip(part, errors, strict=True)]

    def _changes(self, message: Forecast, error: float, columns: Sequence[str]) -> list[Alert]:
        """What the detectors say of the error and of the columns' shifts."""
        detectors, shifts = self._detectors[message.key], message.shifts
        changes = [(PUBLISHED, detectors[PUBLISHED].update(error))]
        changes += [(name, detectors[name].update(shifts.get(name, STILL)[0])) for name in columns]
        return [self._drift(message, subject, change) for subject, change in changes if change is not None]

    def _drift(self, message: Forecast, subject: str, change: Change) -> Alert:
        if subject == PUBLISHED:
            before, after = change.before * CUT, change.after * CUT
            detail = f"the blend's error has risen from {before:.2f} to {after:.2f} times the usual"
        else:
            moved = message.shifts.get(subject, STILL)[1]
            detail = f"{subject} has moved by {moved:.4g} from where it was of late, {change.after:.2f} of its furthest"
        return self._alert(message, "drift", subject, detail)

    def anomalies(self, part: Sequence[Forecast], judged: Anomalies) -> list[list[Alert]]:
        """Per series an alert where the truth is outside the extreme interval of the first horizon."""
        if not judged.anomalous[:, 0].any():
            return [[] for _ in part]
        return [
            [self._alert(message, "anomaly", self._stream.target, self._strange(message, size))] if anomalous else []
            for message, anomalous, size in zip(part, judged.anomalous[:, 0], judged.size[:, 0], strict=True)
        ]

    def behind(self, part: Sequence[Forecast], rivals: Floats, fallen: Mask) -> list[list[Alert]]:
        """Per series an alert where the guard has stepped in. fallen: [n, horizons]; rivals: as in the ledger."""
        if not fallen.any():
            return [[] for _ in part]
        active = self._stream.weighting.active
        return [
            [self._alert(message, "negative-skill", active, self._worse(squares, row))] if row.any() else []
            for message, squares, row in zip(part, rivals, fallen, strict=True)
        ]

    def _worse(self, squares: Floats, fallen: Mask) -> str:
        rows = zip(self._stream.horizon, np.sqrt(squares).tolist(), fallen, strict=True)
        errors = [
            f"RMSE {mine:.4g} against {naive:.4g} {_steps(step)} ahead"
            for step, (mine, naive), behind in rows
            if behind
        ]
        active = self._stream.weighting.active
        return f"{active} has fallen behind persistence, which is published meanwhile: {'; '.join(errors)}"

    def _strange(self, message: Forecast, size: float) -> str:
        return f"observed {message.observed:g}, {size:.1f} times the usual error from what was forecast"

    def _alert(self, message: Forecast, kind: str, subject: str, detail: str) -> Alert:
        self._on_alert(self._stream.name, kind)
        return Alert(message.stream, message.key, message.t, kind, subject, detail)


def _load(detector: DriftDetector, state: bytes) -> None:
    try:
        detector.load(state)
    except (ValueError, msgspec.DecodeError) as error:
        raise UnreadableState(f"a drift detector: {error}") from error


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"
