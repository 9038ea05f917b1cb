"""Sphinx extension: blocks that a page fills from results files, so that no number on it can be stale.

- `answer`, `setting`, `result-table`, `result-picture`: the short answer of a study (`dskd_utils/report/summary.py`);
- `claims`: what the paper claims and what was seen here; with `:rules:` how each verdict is reached;
- `beside`: a table of the paper by its number, or figure `3a` or `3b`, and ours; our `controls`; what the `runs` took;
- `teachers`: the studies of all teachers beside each other;
- `search`: what `stage-one` of the search chose, what `stage-two` decided, or what its `second-plan` found;
- `diagram`: a drawing of `dskd_utils/report/diagrams.py`, set into the page so that it follows the page's theme.

The others show the default teacher, or `:teacher:`. Where a piece was not run, the block says so.
"""

from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from study_roles import studies

from dskd_utils.report import across, beside, search, search_margins, summary
from dskd_utils.report.claims import VERDICTS, claims
from dskd_utils.report.values import DEFAULT_TEACHER
from dskd_utils.report.verdicts import NotRunError
from dskd_utils.results import read_results

NOT_RUN = "*Not run here: this part of the study needs a larger profile.*"


class Block(SphinxDirective):
    """What all blocks share: the results, Markdown, and drawings; each has its own `blocks`, the nodes it puts in."""

    option_spec = {"teacher": directives.unchanged}

    def results(self) -> dict:
        """The loaded results of the teacher by notebook; a change of a file builds the page anew."""
        return self.results_of(self.options.get("teacher", DEFAULT_TEACHER))

    def results_of(self, teacher: str) -> dict:
        """The loaded results of one teacher by notebook."""
        found = {}
        for path in sorted((studies(self.env) / teacher / "results").glob("*.json")):
            self.env.note_dependency(str(path))
            found[path.stem] = read_results(path)
        return found

    def parsed(self, lines: list[str], name: str) -> list[nodes.Node]:
        """Lines of Markdown as nodes."""
        holder = nodes.container(classes=[name])
        self.state.nested_parse(StringList(lines, name), self.content_offset, holder)
        return [holder]

    def drawn(self, drawing: str) -> nodes.Node:
        """An SVG set into the page; a narrow screen scrolls it, also by keyboard."""
        html = f'<div class="dskd-drawing" tabindex="0" role="group" aria-label="drawing">{drawing}</div>'
        return nodes.raw("", html, format="html")

    def run(self) -> list[nodes.Node]:
        """The block, or a line that says that it was not run, or that it failed and why."""
        try:
            return self.blocks()
        except NotRunError as missing:
            return self.parsed([f"*{missing}*" if "failed" in str(missing) else NOT_RUN], "not-run")


class Answer(Block):
    """The answer in a few sentences."""

    def blocks(self) -> list[nodes.Node]:
        """A list with a point for each measure."""
        return self.parsed([f"- {point}" for point in summary.answer(self.results())], "study-answer")


class Setting(Block):
    """What the numbers of the short table come from."""

    def blocks(self) -> list[nodes.Node]:
        """One paragraph."""
        return self.parsed([summary.setting(self.results())], "study-setting")


class ResultTable(Block):
    """Our Table 3 in short."""

    def blocks(self) -> list[nodes.Node]:
        """One table."""
        return self.parsed(beside.markdown(summary.result_table(self.results())), "study-table")


class ResultPicture(Block):
    """DSKD minus KD with intervals."""

    def blocks(self) -> list[nodes.Node]:
        """One drawing."""
        return [self.drawn(summary.picture(self.results()).render())]


class Claims(Block):
    """The claim table, or the rules behind it."""

    option_spec = {"teacher": directives.unchanged, "rules": directives.flag}

    def blocks(self) -> list[nodes.Node]:
        """One table, or a definition list."""
        rows = claims(self.results())
        if "rules" in self.options:
            lines = [line for row in rows for line in (f"{row.number}. {row.claim}", f": {row.rule}", "")]
            return self.parsed(lines, "claim-rules")
        lines = ["| claim | the paper | seen here | verdict | evidence |", "| --- | --- | --- | --- | --- |"]
        kinds = dict(zip(VERDICTS, ("held", "not", "unclear", "untested"), strict=True))
        for row in rows:
            verdict = f'<span class="verdict {kinds[row.verdict]}">{row.verdict}</span>'
            seen = row.seen.replace("; ", ";<br>")
            cells = (f"{row.number}. {row.claim}", row.paper, seen, verdict, f"{{page}}`{self.page(row.page)}`")
            lines.append("| " + " | ".join(cells) + " |")
        return self.parsed(lines, "claims")

    def page(self, notebook: str) -> str:
        """The reference of a page of the block's teacher, with the notebook's number as its words."""
        teacher = self.options.get("teacher", DEFAULT_TEACHER)
        return f"{teacher}/{notebook}\\|{notebook[3:]}"


class Beside(Block):
    """A table or figure of the paper and ours."""

    required_arguments = 1

    def blocks(self) -> list[nodes.Node]:
        """A table, and a drawing for a figure."""
        which, results = self.arguments[0], self.results()
        if which in ("3a", "3b"):
            table, drawing = beside.figure_3(results, which[1])
            return [self.drawn(drawing.render()), *self.parsed(beside.markdown(table), "beside")]
        if which == "runs":
            picture = self.drawn(beside.run_picture(results).render())
            return [picture, *self.parsed(beside.markdown(beside.runs(results)), "beside")]
        if which in beside.TABLES:
            table = beside.TABLES[which](results)
        elif which.isdigit() and int(which) in beside.ABLATIONS:
            table = beside.ablation(results, int(which))
        else:
            known = ", ".join(map(str, ["3a", "3b", *beside.ABLATIONS, *beside.TABLES]))
            raise self.error(f"there is nothing beside {which!r}: choose among {known}")
        return self.parsed(beside.markdown(table), "beside")


class Teachers(Block):
    """All teachers beside each other: the default one first."""

    option_spec = {}

    def blocks(self) -> list[nodes.Node]:
        """Drawings with intervals, then a table."""
        names = sorted(
            (path.name for path in studies(self.env).iterdir()), key=lambda name: (name != DEFAULT_TEACHER, name)
        )
        found = {name: self.results_of(name) for name in names}
        drawn = [self.drawn(drawing.render()) for drawing in across.pictures(found)]
        return [*drawn, *self.parsed(beside.markdown(across.table(found)), "beside")]


class Search(Block):
    """What came of the search, whose results are kept apart from the study's."""

    required_arguments = 1

    def blocks(self) -> list[nodes.Node]:
        """A drawing, then a list or the conditions and the answer."""
        teacher = self.options.get("teacher", DEFAULT_TEACHER)
        if self.arguments[0] == "second-plan":
            results = self.results_of(f"{teacher}/{search_margins.GRID}")
            answer, drawing = f"**{search_margins.answer(results)}**", search_margins.picture(results)
            lines = search_margins.table(results)
            return [*self.parsed([answer], "answer"), self.drawn(drawing.render()), *self.parsed(lines, "search")]
        results = self.results_of(f"{teacher}/search")
        if self.arguments[0] == "stage-one":
            drawing, lines = search.stage_one(results)
            return [self.drawn(drawing.render()), *self.parsed(lines, "search")]
        drawing, rows = search.stage_two(results)
        answer = f"**The answer is {search.answered(results)}.**"
        lines = ["| a yes needs | seen | |", "| --- | --- | --- |"]
        lines += [f"| {row['condition']} | {row['seen']} | {row['state']} |" for row in rows]
        return [*self.parsed([answer], "answer"), self.drawn(drawing.render()), *self.parsed(lines, "search")]


class Diagram(Block):
    """A drawing of the pages on the method, with the block's text as its caption."""

    required_arguments = 1
    has_content = True

    def blocks(self) -> list[nodes.Node]:
        """A figure."""
        path = Path(self.env.srcdir) / "_static" / "diagrams" / f"{self.arguments[0]}.svg"
        if not path.is_file():
            raise self.error(f"there is no diagram {path.stem}: `python -m dskd_utils.report.diagrams` draws them")
        self.env.note_dependency(str(path))
        figure = nodes.container(classes=["dskd-figure"])
        figure += self.drawn(path.read_text(encoding="utf-8"))
        if self.content:
            figure += self.parsed(list(self.content), "caption-text")
        return [figure]


def setup(app) -> dict:
    """What Sphinx calls."""
    named = {
        "answer": Answer,
        "setting": Setting,
        "result-table": ResultTable,
        "result-picture": ResultPicture,
        "claims": Claims,
        "beside": Beside,
        "teachers": Teachers,
        "search": Search,
        "diagram": Diagram,
    }
    for name, block in named.items():
        app.add_directive(name, block)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
