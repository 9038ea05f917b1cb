"""The paper's claims, one by one: what it says, what was seen here, and what that makes of the claim (paper, all).

Pure functions on loaded results. Every verdict follows from the rule that is written beside it; the rules themselves
are in `verdicts.py` and `grid_verdicts.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dskd_utils.report import grid_verdicts, verdicts
from dskd_utils.report.paper import STATED, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_11, TABLE_12
from dskd_utils.report.verdicts import HELD, NOT, UNCLEAR, UNTESTED, NotRunError, Results

VERDICTS = (HELD, NOT, UNCLEAR, UNTESTED)


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        number: its place in the table.
        claim: in a few words.
        paper: what the paper says and where.
        seen: what was seen here, with intervals where there are any.
        verdict: one of `VERDICTS`.
        rule: how the verdict follows from what was seen.
        page: the notebook that holds the evidence.
    """

    number: int
    claim: str
    paper: str
    seen: str
    verdict: str
    rule: str
    page: str


def claims(results: Results) -> list[Claim]:
    """All claims, in the order of the table.

    Args:
        results: the loaded `results/<notebook>.json` of one teacher by notebook; any may be missing.
    """
    found = []
    for number, (claim, paper, rule, page, judge) in enumerate(_CLAIMS, 1):
        try:
            seen, ruling = judge(results)
        except NotRunError as missing:
            seen, ruling = str(missing), UNTESTED
        found.append(Claim(number, claim, paper, seen, ruling, rule, page))
    return found


def tally(rows: Iterable[Claim]) -> str:
    """How many claims there are of each verdict, in words."""
    given, words = [row.verdict for row in rows], {UNCLEAR: "could be neither confirmed nor refuted"}
    counts = [f"{given.count(each)} {words.get(each, each)}" for each in VERDICTS if each in given]
    return " and ".join([", ".join(counts[:-1]), counts[-1]] if len(counts) > 1 else counts)


def _gains() -> str:
    both = [(TABLE_3[teacher, "dskd", 16], TABLE_3[teacher, "kd", 16]) for teacher in ("Llama-3-8B", "Mistral-7B")]
    points = [a[0] - b[0] for dskd, kd in both for a, b in zip(dskd, kd, strict=True)]
    return f"+{min(points):.2f} to +{max(points):.2f} points on five benchmarks, two teachers (Table 3)"


def _two(table: Mapping, first: float, second: float) -> str:
    return f"Llama on ARC {table[first][0]:.2f} at {first:g}, {table[second][0]:.2f} at {second:g}"


def _piqa() -> str:
    names = ("Llama-3-8B", "Mistral-7B")
    pairs = [(TABLE_3[name, "kd", 16][3][0], TABLE_3[name, "teacher", 32][3][0]) for name in names]
    return "KD " + " and ".join(f"{kd:.2f} over {teacher:.2f}" for kd, teacher in pairs) + " (Table 3)"


def _grid(last: str = "") -> str:
    return (
        "Agreement with the teacher's top token on validation text, one seed. Held up: the second value is above the "
        "first, and no larger one above the second by more than two points. Did not: it is not above the first, or a "
        f"larger one is that far above it. Else not told apart.{last}"
    )


_ROUNDS = (
    "Mean ratio over the rounds of the timing with its 95% interval, by Student's t of the logarithms; fewer than five "
    "rounds decide nothing."
)
_MINUTES = [TABLE_11["Llama-3-8B", method][3] for method in ("kd", "dskd")]
_MMLU = [TABLE_12["Llama-3-8B", method][2] for method in ("kd", "dskd")]
_KEPT = [values[2] for values in TABLE_2.values()]
_CLAIMS: Sequence[tuple[str, str, str, str, Callable]] = (
    (
        "DSKD is above KD on all five benchmarks",
        _gains(),
        "Log-probability of the right answer, paired intervals over questions (SQuAD: F1). "
        "Held up: higher on every "
        "benchmark asked. Did not: lower, or the same to 0.05 nats, on at least one. Else not told apart.",
        "05-evaluation",
        verdicts.every_benchmark,
    ),
    (
        "On PIQA a student is above its teacher",
        _piqa(),
        "Accuracy by the likelihood of the answer, zero-shot, paired interval over questions. Held up: higher. Did "
        "not: lower, or the same to two points. Else not told apart. What the paper's protocol gives, the letter of "
        "the answer after examples, is shown beside it and does not count.",
        "05-evaluation",
        verdicts.above_teacher,
    ),
    (
        "More senses a token help up to about ten",
        f"{_two(TABLE_4, 5, 10)}; nothing consistent beyond (Table 4)",
        _grid(),
        "06-ablations",
        lambda results: grid_verdicts.settled(results, "senses", "k", 5, 10),
    ),
    (
        "One candidate is too few, five are enough",
        f"{_two(TABLE_5, 1, 5)} (Table 5)",
        _grid(),
        "06-ablations",
        lambda results: grid_verdicts.settled(results, "candidates", "kappa", 1, 5),
    ),
    (
        "A weight of 1 to 1.5 is best",
        f"{_two(TABLE_6, 0.5, 1.0)}; less at 2 (Table 6)",
        "Agreement with the teacher's top token on validation text, one seed. Held up: the best weight between 1 and "
        "1.5 is above all others. Did not: another is above it, or all are the same to two points. Else not told "
        "apart.",
        "06-ablations",
        grid_verdicts.best_beta,
    ),
    (
        "Half the layers keep most; below comes a cliff",
        "a small drop at 16 of 32 layers, sharp declines below (Figure 3a)",
        "Agreement with the teacher's top token on validation text, one seed. Could not be tested: no student of fewer "
        "than half the layers was trained. Held up: the student of half the layers keeps 70% of it, and the fall is "
        "steepest below. Did not: it keeps less, or the fall is steepest above. Else not told apart. Section 5.1 has "
        "the 70% for a ratio of accuracies, in which chance is included; here it is applied to agreement.",
        "06-ablations",
        grid_verdicts.cliff,
    ),
    (
        "Two trained layers are enough",
        "two better than one, no sustained gain beyond (Figure 3b)",
        _grid(" Both methods count."),
        "06-ablations",
        grid_verdicts.trained_layers,
    ),
    (
        "Training takes about 5% longer",
        f"{_MINUTES[0]} and {_MINUTES[1]} minutes, {_MINUTES[1] / _MINUTES[0]:.2f} times (Table 11)",
        f"{_ROUNDS} Held up: at most 1.10. Did not: above. Else not told apart.",
        "08-costs",
        verdicts.training_time,
    ),
    (
        "Answering costs nothing more",
        f"MMLU in {_MMLU[0]} and {_MMLU[1]} minutes (Table 12)",
        f"{_ROUNDS} Held up: at most 1.05 times KD's. Did not: above. Else not told apart.",
        "08-costs",
        verdicts.answering_time,
    ),
    (
        "Words of at most three tokens keep over 90% of the relations",
        f"{min(_KEPT):.1f}% to {max(_KEPT):.1f}% (Table 2)",
        "Held up: every tokenizer keeps more than 90% of both kinds, with its 95% interval. Did not: one keeps less. "
        "Else not told apart.",
        "01-lexicon",
        verdicts.span_lengths,
    ),
    (
        "Synonyms lie together",
        "synonyms of *red* and vehicles form clusters (Figure 1)",
        "A picture has no test; ours is a ratio, without an interval. Held up: at most 0.95 for every group, of "
        "contexts and of senses. Did not: one of 1 or more. Else not told apart.",
        "03-sense-maps",
        verdicts.clusters,
    ),
    (
        "A small vocabulary gains more",
        "more for Mistral's 32,000 tokens than for Llama's 128,256 (section 5.3)",
        "Needs teachers that differ in their vocabulary alone; the paper's two differ in much else.",
        "02-senses",
        verdicts.vocabulary,
    ),
    (
        "About 14% of the tokens have relations",
        f"{STATED['related tokens']:.0%} (section 4.2), not said of which kind",
        "Counted in the training text. Held up: within two points of 14%, for tokens with any relation or with both "
        "kinds. Else did not.",
        "01-lexicon",
        verdicts.related_tokens,
    ),
)
