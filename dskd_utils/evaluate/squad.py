"""SQuAD 2.0 scores as the official script counts them: exact match and F1, with abstention (paper section 5, Table 3).

Written from the script's behaviour: lower case, no punctuation, no articles, single spaces; the best of the gold
answers counts; an unanswerable question has the empty string as its only gold answer.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
ABSTENTIONS = ("no answer", "unanswerable")


def normalise(text: str) -> str:
    """`text` in lower case, without punctuation and articles, with single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def read_answer(generated: str) -> str:
    """The answer in a generated text: its first line that is not empty, or `""` where the model abstains.

    The model abstains where that line is empty or starts with "No answer" or "unanswerable".
    """
    lines = generated.strip().splitlines()
    answer = lines[0].strip() if lines else ""
    plain = normalise(answer)
    abstains = any(plain == words or plain.startswith(words + " ") for words in ABSTENTIONS)
    return "" if abstains or not plain else answer


def _gold(answers: Sequence[str]) -> list[str]:
    # An answer that is nothing but punctuation or an article would be won by every abstention.
    return [answer for answer in answers if normalise(answer)] or [""]


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1.0 where the normalised prediction equals one of the gold answers, else 0.0.

    Args:
        prediction: the answer's text; `""` abstains.
        answers: the gold answers' texts; none where the question is unanswerable.
    """
    return float(any(normalise(prediction) == normalise(answer) for answer in _gold(answers)))


def f1_score(prediction: str, answers: Sequence[str]) -> float:
    """Greatest F1 of the prediction's words against one of the gold answers, between 0.0 and 1.0.

    Where either side is empty it is 1.0 if both are and 0.0 otherwise.

    Args:
        prediction: the answer's text; `""` abstains.
        answers: the gold answers' texts; none where the question is unanswerable.
    """
    return max(_f1(normalise(prediction).split(), normalise(answer).split()) for answer in _gold(answers))


def _f1(predicted: list[str], gold: list[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    same = sum((Counter(predicted) & Counter(gold)).values())
    return 2 * same / (len(predicted) + len(gold))
