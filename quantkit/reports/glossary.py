"""The words of reports, explained once: for the page's hovers, and for docs/glossary.md."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Term:
    """A word and its meaning; ``also`` are other forms of it in texts."""

    word: str
    meaning: str
    also: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """The id of its place in a page."""
        return "term-" + re.sub(r"[^a-z0-9]+", "-", self.word.lower()).strip("-")


TERMS = (
    Term(
        "agreement",
        "The share of samples that a model answers as FP32 does. It needs no labels, and does not tell which of two "
        "different answers is right.",
        ("Agreement", "Agree", "agrees"),
    ),
    Term(
        "amax",
        "The largest magnitude that a tensor's INT8 range holds. Symmetric INT8 divides −amax to amax into 254 steps; "
        "values beyond are clipped.",
    ),
    Term(
        "calibration",
        "Running the FP32 model on a few hundred samples to find each tensor's range. No weight is trained.",
    ),
    Term(
        "clipped",
        "Values beyond the range, which INT8 stores as the range's end. A smaller range clips more, and resolves what "
        "is left more finely.",
        ("Clipped",),
    ),
    Term(
        "confidence interval",
        "The span that holds the true figure in 95 of 100 repetitions on other samples of the same kind, or in other "
        "rounds of timing.",
        ("95 % interval", "95 % confidence interval"),
    ),
    Term(
        "CUDA graph", "All kernels of an inference, launched on the GPU as one, so that the host costs no time between."
    ),
    Term(
        "FP16",
        "Floating point of 16 bits. Many CPUs store weights so and compute in FP32, which makes the file smaller and "
        "nothing faster.",
    ),
    Term(
        "FP32", "Floating point of 32 bits: what a model is trained in, and what the other precisions are held against."
    ),
    Term(
        "INT8",
        "Integers of 8 bits. Values are rounded to 256 steps of a range; layers run faster where the hardware "
        "multiplies integers.",
    ),
    Term(
        "KL",
        "The Kullback–Leibler divergence: how much a distribution rounded to INT8 differs from the original. Entropy "
        "calibration takes the range of the least.",
        ("KL divergence",),
    ),
    Term(
        "McNemar's test",
        "Whether two models that answered the same samples differ in accuracy by more than chance. Only the samples "
        "count that one has right and the other wrong.",
        ("McNemar’s exact test", "McNemar's exact test", "McNemar"),
    ),
    Term(
        "p",
        "The probability that chance alone makes such a difference. Below 0.05 a loss is called more than chance.",
        ("p-value",),
    ),
    Term("p50", "The median latency: half of the inferences took at most so long."),
    Term("p90", "Nine in ten inferences took at most so long."),
    Term(
        "p99", "All but one in a hundred inferences took at most so long; the slow ones that users notice are beyond."
    ),
    Term(
        "Pareto front",
        "The models that no other beats in both latency and accuracy. What is not on it is never the better choice.",
        ("Pareto",),
    ),
    Term(
        "per-channel", "One scale for each output channel of a weight, in place of one for all of it: finer, and free."
    ),
    Term(
        "points",
        "Percentage points: from 90 % to 89 % is a loss of one point. A loss is positive, a gain negative.",
        ("percentage points",),
    ),
    Term(
        "Q/DQ",
        "A QuantizeLinear with a DequantizeLinear node in an ONNX model. Each pair rounds a tensor; runtimes fuse "
        "pairs and layers into integer kernels.",
    ),
    Term("scale", "The width of one INT8 step: a value is its integer, less the zero-point, times the scale."),
    Term(
        "speed-up",
        "FP32's latency on the same target divided by this one. Above 1 is faster; an interval that holds 1 may be no "
        "gain at all.",
        ("Speed-up",),
    ),
    Term(
        "SQNR",
        "Signal to quantization noise: how large an output is against its error, in decibels. Ten more mean a tenth of "
        "the error's power; below about 15 dB outputs are far from FP32's.",
    ),
    Term("Top-1", "The share of samples whose surest answer is the label.", ("top-1",)),
    Term("zero-point", "The integer that stands for 0 in an asymmetric range, which need not be centred on 0."),
)
_BY_FORM = {form: term for term in TERMS for form in (term.word, *term.also)}
# Longest forms first. Single letters and words of every day are explained where they are headings, not in running text.
_ONLY_HEADINGS = {
    "p",
    "points",
    "scale",
    "clipped",
    "Clipped",
    "calibration",
    "FP32",
    "INT8",
    "FP16",
    "agrees",
    "Agree",
}
_FORMS = re.compile(
    r"(?<![\w/.-])(?:"
    + "|".join(
        re.escape(form)
        for form in sorted(_BY_FORM, key=len, reverse=True)
        if form not in _ONLY_HEADINGS and "'" not in form
    )
    + r")(?![\w/-])"
)
_PIECES = re.compile(r"(<code>.*?</code>|<[^>]*>)", re.DOTALL)


def term_of(form: str) -> Term | None:
    """Return the term that a form belongs to; None if it is not in the glossary."""
    return _BY_FORM.get(form)


class Explained:
    """Marks terms in the texts of one page, each the first time that it stands there."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def text(self, text: str) -> Markup:
        """Escape a text unless it is markup, and mark its terms outside of tags and code."""
        pieces = _PIECES.split(str(escape(text)))
        return Markup("".join(piece if piece[:1] == "<" else _FORMS.sub(self._first, piece) for piece in pieces))

    def heading(self, form: str, title: str) -> Markup:
        """Mark a heading as a term, whether it was met before or not; a form without a meaning stays plain."""
        term = term_of(form)
        return escape(title) if term is None else _marked(term, escape(title))

    def _first(self, match: re.Match[str]) -> str:
        term = _BY_FORM[match[0]]
        if term.word in self._seen:
            return match[0]
        self._seen.add(term.word)
        return str(_marked(term, Markup(match[0])))


def _marked(term: Term, shown: Markup) -> Markup:
    link = Markup('<a class="term" href="#{0}" aria-describedby="{0}">{1}</a>')
    return link.format(term.anchor, shown)


def glossary_markdown() -> str:
    """Write docs/glossary.md."""
    head = (
        "# Glossary",
        "The words of reports and of these pages. In a report they are underlined with dots: point at one, or go to\n"
        "it with the Tab key. `python -m quantkit.reports.glossary > docs/glossary.md` writes this page.",
    )
    return "\n\n".join((*head, *(f"**{term.word}** – {term.meaning}" for term in TERMS))) + "\n"


if __name__ == "__main__":
    sys.stdout.write(glossary_markdown())
