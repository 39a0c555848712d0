"""The report's plots, as SVG that takes its colours from the page.

Every plot is drawn for a width in pixels, so that its text stays readable on a phone: draw it again for another width
rather than scale it. The three uses of a language model differ in colour and in shape.
"""

from frugalrec.report._rows import empty_slices, forest, slice_dots, slices_of, stage_bars
from frugalrec.report._scatter import scatter
from frugalrec.report._svg import icon

__all__ = ["empty_slices", "forest", "icon", "scatter", "slice_dots", "slices_of", "stage_bars"]
