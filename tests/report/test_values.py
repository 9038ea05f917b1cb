"""Tests of numbers that prose takes from results files."""

import json

import pytest

from dskd_utils.report import values

ROWS = [{"model": "kd", "metric": "kl", "value": 1.5}, {"model": "dskd", "metric": "kl", "value": -0.25}]
RECORD = {
    "held_out": ROWS,
    "facts": {"token keys": 1234, "share, all": 0.5, "1.5": 2},
    "none": None,
    "nan": float("nan"),
}


@pytest.fixture
def studies(tmp_path):
    for teacher in (values.DEFAULT_TEACHER, "other"):
        folder = tmp_path / teacher / "results"
        folder.mkdir(parents=True)
        record = RECORD if teacher != "other" else RECORD | {"held_out": [ROWS[0] | {"value": 9}]}
        (folder / "05-evaluation.json").write_text(json.dumps(record))
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("05-evaluation:held_out[model=kd,metric=kl].value|.2f", "1.50"),
        ("05-evaluation:held_out[model=dskd].value|.2f", "\N{MINUS SIGN}0.25"),
        ("05-evaluation:held_out[value=1.5].model", "kd"),
        ("other/05-evaluation:held_out[model=kd].value", "9"),
        ("05-evaluation:facts.token keys|,", "1,234"),
        ("05-evaluation:facts.share, all|.0%", "50%"),
        ('05-evaluation:facts."1.5"', "2"),
        ("05-evaluation:held_out.0.model", "kd"),
        ("08-costs:ratios.0.median|.2f|not run here", "not run here"),
        ("05-evaluation:nan|.2f|not run here", "not run here"),
        ("paper:table_3.Llama-3-8B.kd.PIQA|.2f", "81.78"),
        ("paper:stated.related tokens|.0%", "14%"),
        ("profiles:smoke.wikipedia_tokens|,", "4,096"),
        ("teachers:presets.smollm2-135m.layers", "30"),
    ],
)
def test_a_reference_is_written_in_its_format(studies, reference, text):
    assert values.written(reference, studies) == text


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("05-evaluation:held_out[metric=kl].value", "2 rows of held_out fit .*, one is needed"),
        ("05-evaluation:held_out[model=teacher].value", "0 rows of held_out"),
        ("05-evaluation:held_out", "is a table, a single value is needed"),
        ("05-evaluation:none", "none is empty, a single value"),
        ("05-evaluation:facts.tokens", "no 'tokens' in facts: it has token keys"),
        ("05-evaluation:facts[a=b].c", "facts is no table"),
        ("08-costs:ratios", "there are no results 08-costs in results of smollm2-135m: 05-evaluation"),
        ("paper:table_13", "no 'table_13' in the file: it has table_2"),
        ("05-evaluation:nan", "nan is not a number"),
    ],
)
def test_a_reference_to_nothing_or_to_several_is_an_error_that_says_which(studies, reference, told):
    with pytest.raises(LookupError, match=told):
        values.written(reference, studies)


@pytest.mark.parametrize(
    "reference", ["nothing", "a:", "a:b|c|d|e", "05-evaluation:facts[x].y", "05-evaluation:facts[x"]
)
def test_a_reference_that_cannot_be_read_is_an_error(studies, reference):
    with pytest.raises(ValueError, match="must be|cannot be read"):
        values.written(reference, studies)


def test_a_format_that_does_not_fit_is_an_error(studies):
    with pytest.raises(ValueError, match="format"):
        values.written("05-evaluation:held_out[model=kd].model|.2f", studies)
