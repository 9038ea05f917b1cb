"""From filed states to a sense dictionary on disk, whatever its size (paper, sections 3.1 to 3.3).

Neither the states nor the senses have to fit in memory: both are memory maps, of which k-means and composition touch
a part at a time.
"""

from pathlib import Path

from torch import Tensor

from dskd_utils.lexicon.relations import Relations
from dskd_utils.senses.build import mapped_rows
from dskd_utils.senses.dictionary import SenseDictionary, build_dictionary, rows_needed
from dskd_utils.senses.kmeans import batched_kmeans, centroid_offsets


def write_dictionary(
    folder: Path,
    values: Tensor,
    offsets: Tensor,
    k: int | Tensor,
    relations: Relations,
    tokenizer,
    *,
    max_span: int = 3,
    neighbours: int | None = None,
    neighbour_tokens: str = "any",
    seed: int = 0,
    header: dict | None = None,
) -> tuple[SenseDictionary, Tensor]:
    """Cluster the states of every token, compose the senses of words, and write the dictionary's file.

    Needs the disk for the senses twice while it works. Composition reads the token senses as they are stored, in bf16.

    Args:
        folder: an existing folder that receives the file; give a temporary one and rename it (`atomic_folder`).
        values: `(n, d)` floating states grouped by token, such as those of a `Sample`.
        offsets: `(v + 1,)` int64.
        k: senses a token, one number or `(v,)` int64.
        relations, tokenizer, max_span, neighbours, neighbour_tokens, header: as in `build_dictionary`.
        seed: of k-means, and of the draw of neighbours.

    Returns:
        the dictionary, opened from its file, and the inertia of every token `(v,)` fp32.

    Raises:
        OSError: the disk is full.
        ValueError: as in `batched_kmeans` and `build_dictionary`.
    """
    bounds = centroid_offsets(offsets, k)
    scratch = folder / "vectors.bf16"
    vectors = mapped_rows(scratch, rows_needed(relations, tokenizer, bounds, max_span), values.shape[1])
    inertia = batched_kmeans(values, offsets, k, seed=seed, out=vectors[: int(bounds[-1])]).inertia
    built = build_dictionary(
        vectors,
        bounds,
        relations,
        tokenizer,
        max_span=max_span,
        neighbours=neighbours,
        neighbour_tokens=neighbour_tokens,
        seed=seed,
        header=header,
    )
    built.write(folder)
    scratch.unlink()
    return SenseDictionary.load(folder), inertia
