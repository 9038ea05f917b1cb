"""The diagrams of the pages on the method and on the batch, drawn by code (paper, sections 3 and 4, Figure 2).

`python -m dskd_utils.report.diagrams` writes them to `book/_static/diagrams`; a test compares the files with the code.
"""

import math
import random
from collections.abc import Callable
from pathlib import Path

from dskd_utils.profiles import READS
from dskd_utils.report.svg import Drawing

FOLDER = Path(__file__).parents[2] / "book" / "_static" / "diagrams"


def overview() -> Drawing:
    """The whole method, the front picture."""
    d = Drawing(
        "overview",
        640,
        310,
        "Decoder-based sense knowledge distillation",
        "Teacher and student read the same text. The student learns the teacher's predictions. The teacher's states "
        "are clustered into a dictionary of senses; thesauri say which are near and which are opposite; the "
        "senses nearest to the teacher's state draw the student near or push it away.",
    )
    d.box(8, 128, 96, 54, ["Text"])
    d.box(168, 24, 168, 66, ["Teacher", "frozen"])
    d.box(168, 220, 168, 66, ["Student", "fewer layers"], colour="blue")
    d.box(444, 24, 188, 66, ["Sense dictionary", "states, clustered"])
    d.box(444, 122, 188, 66, ["Thesauri", "synonyms, antonyms"])
    d.box(444, 220, 188, 66, ["Nearest senses", "to the teacher's state"])
    d.line([(104, 140), (134, 140), (134, 57), (166, 57)], arrow=True)
    d.line([(104, 170), (134, 170), (134, 253), (166, 253)], arrow=True)
    d.line([(336, 57), (442, 57)], arrow=True)
    d.text(389, 48, "states", anchor="middle", colour="soft", size=14)
    d.line([(252, 90), (252, 218)], colour="blue", width=2.2, arrow=True)
    d.text(262, 150, "predict", colour="blue")
    d.text(262, 169, "the same", colour="blue")
    d.line([(538, 90), (538, 120)], arrow=True)
    d.line([(538, 188), (538, 218)], arrow=True)
    d.line([(442, 242), (338, 242)], colour="green", width=2.2, arrow=True)
    d.text(390, 234, "come near", anchor="middle", colour="green", size=14)
    d.line([(442, 268), (338, 268)], colour="orange", width=2.2, arrow=True)
    d.text(390, 288, "keep away", anchor="middle", colour="orange", size=14)
    return d


def decoder() -> Drawing:
    """Teacher and student side by side: which layers are shared, which are trained."""
    d = Drawing(
        "decoder",
        600,
        330,
        "The student keeps the teacher's first layers",
        "Two stacks of layers. The student's embeddings and first layers are the teacher's own and frozen, so their "
        "output is read from the store of one teacher pass. Only its two top layers are trained. Final norm and output "
        "matrix are the teacher's too.",
    )
    for x, name in ((36, "Teacher"), (358, "Student")):
        d.text(x + 90, 22, name, anchor="middle", weight="600")
        d.box(x, 34, 180, 34, ["norm and output matrix"], size=14)
        d.box(x, 276, 180, 34, ["embeddings"], size=14)
    for row in range(5):
        d.box(36, 76 + 16 * row, 180, 12)
    for row in range(5):
        d.box(36, 164 + 20 * row, 180, 14)
        d.box(358, 164 + 20 * row, 180, 14)
    d.box(358, 96, 180, 26, ["trained"], colour="blue", size=14)
    d.box(358, 126, 180, 26, ["trained"], colour="blue", size=14)
    d.line([(218, 158), (356, 158)], colour="green", width=2.2, arrow=True)
    d.text(287, 148, "one pass, kept", anchor="middle", colour="green", size=14)
    d.line([(218, 51), (356, 51)], colour="blue", width=2.2, arrow=True)
    d.text(287, 42, "KL, senses", anchor="middle", colour="blue", size=14)
    d.text(287, 216, "the same", anchor="middle", colour="soft", size=14)
    d.text(287, 234, "layers, frozen", anchor="middle", colour="soft", size=14)
    return d


def senses() -> Drawing:
    """States of one token in three clumps, each with its centroid."""
    d = Drawing(
        "senses",
        600,
        270,
        "The senses of a token are the centroids of its states",
        "Dots are the teacher's states before the token bank, in three clumps: money, rivers, and to rely on. A square "
        "in the middle of each clump is a sense. A dot is labelled with the words that the teacher had read.",
    )
    draw = random.Random(3)
    clumps = (
        (130, 90, "blue", "money: “cash at the”"),
        (410, 80, "green", "river: “along the muddy”"),
        (300, 205, "purple", "to rely: “you can”"),
    )
    for x, y, colour, words in clumps:
        for _ in range(16):
            angle, far = draw.uniform(0, 2 * math.pi), draw.gauss(0, 1)
            d.dot(x + 42 * far * math.cos(angle), y + 22 * far * math.sin(angle), 4, colour=colour, filled=False)
        d.dot(x, y, 8, colour=colour, square=True)
        d.text(x, y + 62, words, anchor="middle", colour=colour)
    return d


def negation() -> Drawing:
    """An antonym pair with a negating affix makes a synonym pair, and the other way round."""
    d = Drawing(
        "negation",
        600,
        190,
        "Negation turns a relation around",
        "Unkind and friendly are antonyms, so kind, without its negating prefix, and friendly are synonyms. Quit and "
        "discontinue are synonyms, so quit and continue are antonyms.",
    )
    rows = (
        (30, "unkind", "friendly", "kind", "antonym", "synonym"),
        (122, "discontinue", "quit", "continue", "synonym", "antonym"),
    )
    for y, negated, other, base, before, after in rows:
        d.box(12, y, 118, 42, [negated])
        d.box(240, y, 118, 42, [other])
        d.box(468, y, 118, 42, [base])
        for x, word in ((132, before), (360, after)):
            colour = "green" if word == "synonym" else "orange"
            d.line([(x, y + 21), (x + 106, y + 21)], colour=colour, width=2.2, dash="" if x < 200 else "6 4")
            d.text(x + 53, y + 13, word, anchor="middle", colour=colour, size=14)
    return d


def composition() -> Drawing:
    """A sense of the first token walks through the word; the mean so far picks the next sense."""
    d = Drawing(
        "composition",
        600,
        290,
        "Senses of a word of several tokens",
        "Three columns of dots are the senses of three tokens. A path starts at one sense of the first token and goes, "
        "in each next column, to the sense nearest to the mean of those before. The mean of the whole path is "
        "one sense of the word.",
    )
    columns = {90: (70, 120, 175, 225), 250: (85, 140, 210), 410: (65, 130, 190, 235)}
    path = [(90, 120), (250, 140), (410, 130)]
    for (x, places), word in zip(columns.items(), ("ver", "mil", "ion"), strict=True):
        d.text(x, 34, word, anchor="middle", weight="600")
        for y in places:
            d.dot(x, y, 8, filled=(x, y) in path)
    for a, b in zip(path, path[1:], strict=False):
        d.line([(a[0] + 10, a[1]), (b[0] - 11, b[1])], colour="blue", width=2.2, arrow=True)
    d.line([(420, 130), (498, 130)], colour="green", width=2.2, arrow=True)
    d.dot(512, 130, 9, colour="green", square=True)
    d.text(512, 106, "their mean:", anchor="middle", colour="green", size=14)
    d.text(512, 158, "a sense of", anchor="middle", colour="green", size=14)
    d.text(512, 175, "the word", anchor="middle", colour="green", size=14)
    d.text(
        300,
        278,
        "each dot is a sense; every sense of the first token starts a path",
        anchor="middle",
        colour="soft",
        size=14,
    )
    return d


def loss() -> Drawing:
    """The sense loss at one position: the teacher's state chooses, the student's state moves."""
    d = Drawing(
        "loss",
        600,
        330,
        "The sense loss at one position",
        "Around the teacher's state, a cross, a dashed ring holds the nearest positive senses, filled green dots, and "
        "the nearest negative senses, filled orange squares. The student's state is drawn to the former and "
        "pushed from the latter until they are outside its margin. Hollow marks are senses that are too far to count.",
    )
    m, n = (250, 175), (368, 226)
    near = ((205, 120), (290, 120), (195, 190))
    far = ((342, 146), (300, 262))
    d.ring(*m, 112)
    d.text(250, 50, "the nearest κ to m_t", anchor="middle", colour="soft", size=14)
    for x, y in near:
        d.line([n, (n[0] + 0.72 * (x - n[0]), n[1] + 0.72 * (y - n[1]))], colour="green", dash="6 4", arrow=True)
    for x, y in far:
        gone = math.hypot(n[0] - x, n[1] - y)
        d.line(
            [n, (n[0] + 42 * (n[0] - x) / gone, n[1] + 42 * (n[1] - y) / gone)], colour="orange", width=2, arrow=True
        )
    for place, (x, y) in enumerate((*near, (60, 80), (90, 260), (420, 60))):
        d.dot(x, y, 8, colour="green", filled=place < 3)
    for place, (x, y) in enumerate((*far, (500, 120), (480, 290), (140, 305))):
        d.dot(x, y, 8, colour="orange", filled=place < 2, square=True)
    for x, y in ((-9, -9), (-9, 9)):
        d.line([(m[0] + x, m[1] + y), (m[0] - x, m[1] - y)], colour="ink", width=3)
    d.text(m[0] - 42, m[1] - 6, "m_t", weight="600", size=17)
    d.dot(*n, 9, colour="blue")
    d.text(n[0] - 34, n[1] + 26, "n_t", colour="blue", weight="600", size=17)
    for y, colour, square, words in (
        (176, "green", False, "own and synonyms'"),
        (202, "orange", True, "antonyms'"),
    ):
        d.dot(444, y, 7, colour=colour, square=square)
        d.text(460, y + 5, words, colour=colour, size=14)
    return d


# Column and row of each notebook's box; a notebook stands below all that it reads.
_PLACES = {
    "01-lexicon": (2, 0), "02-senses": (2, 1), "03-sense-maps": (0, 2), "04-distillation": (2, 2),
    "05-evaluation": (1, 3), "06-ablations": (4, 2), "07-tables": (0, 4), "08-costs": (2, 3),
    "09-worked-example": (3, 3), "the book": (2, 5),
}  # fmt: skip


def batch() -> Drawing:
    """What the batch runs, in which order: an arrow leads from a notebook to one that reads its results."""
    d = Drawing(
        "batch",
        640,
        462,
        "The notebooks of a study, in the order of the batch",
        "01 lexicon is read by 02 senses, and that by 03 sense maps, 04 distillation and 06 ablations. 05 evaluation, "
        "08 costs and 09 worked example read 04. 07 tables reads 03 and 05 and what these read. The book is built from "
        "all of them.",
    )
    reads = {**READS, "the book": list(READS)}
    middle = {name: 64 + 128 * column for name, (column, _) in _PLACES.items()}
    top = {name: 8 + 80 * row for name, (_, row) in _PLACES.items()}
    for name, sources in reads.items():
        further = {each for source in sources for each in _all_read(source)}
        for source in sources:
            if source not in further:  # what it reads through another has no arrow of its own
                a, b = (middle[source], top[source] + 46), (middle[name], top[name] - 2)
                bend = b[1] - 16
                d.line([a, (a[0], bend), (b[0], bend), b] if a[0] != b[0] else [a, b], arrow=True)
    for name in reads:
        number, _, words = name.partition("-")
        lines = [number, words.replace("-", " ")] if words else [name]
        d.box(middle[name] - 58, top[name], 116, 46, lines, size=13, colour="rule" if words else "blue")
    return d


def _all_read(name: str) -> set[str]:
    """All notebooks whose results a notebook reads, by itself or through another."""
    return set(READS[name]).union(*(_all_read(each) for each in READS[name]))


DIAGRAMS: dict[str, Callable[[], Drawing]] = {
    each.__name__: each for each in (overview, decoder, senses, negation, composition, loss, batch)
}


def write(folder: Path = FOLDER) -> list[Path]:
    """Draw all diagrams into a folder, one SVG file each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in DIAGRAMS.items():
        path = folder / f"{name}.svg"
        path.write_text(draw().render(), encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    write()
