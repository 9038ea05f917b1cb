import numpy as np
import torch

from dskd_utils.evaluate.packing import can_pack, pack_sequences, run_packs
from dskd_utils.evaluate.relatives import relatives
from dskd_utils.evaluate.scoring import scoring_mode


def test_tokens_that_sequences_share_are_packed_once():
    (pack,) = pack_sequences([[5, 6, 7], [5, 6, 8], [5, 6, 7, 9]])
    assert sorted(pack.ids) == [5, 6, 7, 8, 9]
    assert [pack.ids[path].tolist() for path in pack.paths] == [[5, 6, 7], [5, 6, 7, 9], [5, 6, 8]]
    assert pack.members == [0, 2, 1]


def test_a_token_sees_its_own_beginning_and_nothing_else():
    (pack,) = pack_sequences([[5, 6, 7], [5, 8], [9, 7]])
    for path in pack.paths:
        for place, node in enumerate(path):
            assert np.flatnonzero(pack.allowed[node]).tolist() == sorted(path[: place + 1])
            assert pack.depth[node] == place


def test_packs_stay_within_the_token_budget_and_keep_every_sequence():
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 50, size=rng.integers(1, 9)).tolist() for _ in range(60)] + [list(range(30))]
    packs = list(pack_sequences(sequences, tokens=20))
    assert all(len(pack.ids) <= 20 or len(pack.paths) == 1 for pack in packs)
    back = {m: pack.ids[path].tolist() for pack in packs for m, path in zip(pack.members, pack.paths, strict=True)}
    assert [back[i] for i in range(len(sequences))] == sequences


def test_one_prefix_is_computed_once_and_left_as_it_was(any_model):
    rng = np.random.default_rng(1)
    prefix, sequences = rng.integers(2, 300, 20).tolist(), rng.integers(2, 300, (6, 9)).tolist()
    widths, caches = [], []
    handle = any_model.base_model.get_input_embeddings().register_forward_hook(
        lambda module, args, out: widths.append(out.shape[1])
    )
    with scoring_mode(any_model):
        for _, _, _, (cache,), _ in run_packs(relatives([any_model]), [prefix] * 6, sequences, 18, "test"):
            caches.append(cache.layers[0].keys[:, :, :20].clone())
    handle.remove()
    assert widths == [20, 18, 18, 18]
    assert all(torch.equal(keys, caches[0]) for keys in caches)


def test_other_attention_kernels_are_not_packed(llamas):
    model = llamas["teacher"]
    assert can_pack(model)
    model.config._attn_implementation_internal, kept = "flash_attention_2", model.config._attn_implementation_internal
    try:
        assert not can_pack(model)
    finally:
        model.config._attn_implementation_internal = kept
