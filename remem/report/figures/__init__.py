"""One function per figure, a table in, a matplotlib Figure out; no file is read or written.

The style is that of `report.style`. All axes are in percent unless they say otherwise.
"""

from remem.report.figures.controls import controls
from remem.report.figures.judges import confusion
from remem.report.figures.learning import causes, fig1, fig3a, fig3b, fig3c, loss, stage1
from remem.report.figures.people import contact_sheet, dialogue, face_similarity
from remem.report.figures.probes import fig2a, traces
from remem.report.figures.unlearning import (
    exposure,
    forget_retain,
    ratios,
    sensitivity,
    table4,
    tradeoff,
    worked_exposure,
)
from remem.report.figures.verdicts import scorecard
