import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

import reference
from corticast_training.config import STOP_ID, Config
from corticast_training.model.captioner import Captioner
from corticast_training.model.decoupler import Decoupler
from corticast_training.model.published import load_published

SECTION = reference.section("gpt2")
TINY = Config.load("tiny").sizes


def initializers(name: str) -> dict[str, Tensor]:
    graph = onnx.load(reference.folder() / "gpt2" / f"{name}.onnx").graph
    return {i.name: torch.tensor(numpy_helper.to_array(i)).float() for i in graph.initializer}


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    decoder, prefix = initializers("decoder_kv"), initializers("prefix_proj")
    (embedding,) = initializers("token_embed").values()
    weights = {
        "text_dec." + name.replace("m.transformer.", "decoder.transformer."): tensor
        for name, tensor in decoder.items()
        if name.startswith("m.transformer.")
    }
    weights |= {
        "text_dec.decoder.transformer.wte.weight": embedding,
        "text_dec.decoder.lm_head.weight": embedding.clone(),
        "text_dec.clip_project.model.0.weight": prefix["p.weight"],
        "text_dec.clip_project.model.0.bias": prefix["p.bias"],
    }
    sizes = dataclasses.replace(
        TINY,
        text_dim=prefix["p.weight"].shape[1],
        caption_embd=SECTION["embd"],
        caption_layers=SECTION["layers"],
        caption_heads=SECTION["heads"],
        caption_positions=len(weights["text_dec.decoder.transformer.wpe.weight"]),
        caption_tokens=SECTION["max_tokens"],
    )
    path = tmp_path_factory.mktemp("gpt2") / "model.safetensors"
    save_file(weights, path)
    decoupler = Decoupler(sizes).eval()
    report = load_published(path, {"decoupler": decoupler}, only=["decoupler.captioner"])
    assert (report.missing, report.unexpected) == ([], [])
    assert report.recomputed == ["text_dec.decoder.lm_head.weight"]
    return decoupler.captioner


@pytest.mark.parametrize("case", SECTION["cases"], ids=lambda case: Path(case["file"]).stem)
def test_greedy_ids_and_first_logits_are_the_reference(
    case: dict[str, Any], captioner: Captioner
) -> None:
    given = reference.tensors(case["file"])
    text = torch.tensor(given["clip_text_embed"])
    prefix = captioner.embed_prefix(text)
    np.testing.assert_allclose(prefix.detach(), given["prefix"], atol=1e-5)
    with torch.no_grad():
        logits, _ = captioner.step(prefix, captioner.no_past(prefix))
    top = logits[0].sort(descending=True).values[: len(given["first_logits_top"])]
    tolerance = SECTION["tolerance"]["logits"]
    error = reference.differ(top, given["first_logits_top"])
    reference.compare(f"gpt2 {case['file']} first logits", error, tolerance)
    found = captioner.greedy(text, SECTION["max_tokens"])
    same = found == [case["token_ids"]]
    reference.compare(f"gpt2 {case['file']} ids", 0.0 if same else math.inf, 0.0)
    assert given["token_ids"].tolist() == case["token_ids"]


@pytest.fixture(scope="module")
def random() -> Captioner:
    torch.manual_seed(0)
    made = Captioner(TINY).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(5)
    return made


def test_steps_with_their_past_are_the_whole_forward(random: Captioner) -> None:
    text = functional.normalize(torch.randn(3, TINY.text_dim), dim=-1)
    ids = torch.randint(0, STOP_ID, (3, 7))
    with torch.no_grad():
        whole = random(text, ids)
        embeds = torch.cat((random.embed_prefix(text), random.embed_ids(ids)), dim=1)
        past = random.no_past(embeds)
        for position, parts in enumerate(torch.split(embeds[:, :7], 1, dim=1)):
            logits, past = random.step(parts, past)
            torch.testing.assert_close(logits, whole[:, position], rtol=1e-4, atol=1e-4)
        # Several at once continue a past as well.
        _, past = random.step(embeds[:, :3], random.no_past(embeds))
        logits, past = random.step(embeds[:, 3:7], past)
    torch.testing.assert_close(logits, whole[:, 6], rtol=1e-4, atol=1e-4)
    assert past.shape == (TINY.caption_layers, 2, 3, TINY.caption_heads, 7, 16)


def test_logits_depend_on_earlier_ids_only(random: Captioner) -> None:
    text = functional.normalize(torch.randn(1, TINY.text_dim), dim=-1)
    ids = torch.randint(0, STOP_ID, (1, 9))
    later = ids.clone()
    later[0, 5] = (later[0, 5] + 1) % STOP_ID
    with torch.no_grad():
        before, after = random(text, ids), random(text, later)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_a_caption_does_not_depend_on_its_batch_and_holds_only_clip_ids(
    random: Captioner,
) -> None:
    text = functional.normalize(torch.randn(4, TINY.text_dim), dim=-1)
    together = random.greedy(text, 20)
    assert together == [random.greedy(text[[i]], 20)[0] for i in range(4)]
    assert all(0 <= token <= STOP_ID for caption in together for token in caption)
    assert random.greedy(text, 0) == [[]] * 4


def test_ids_above_the_stop_id_are_never_chosen_and_the_stop_id_ends() -> None:
    torch.manual_seed(0)
    captioner = Captioner(TINY).eval()
    with torch.no_grad():
        # The final norm's shift points at both rows: the larger one is masked out.
        captioner.wte.weight.zero_()
        captioner.wte.weight[STOP_ID] = 1.0
        captioner.wte.weight[STOP_ID + 1] = 2.0
        captioner.ln_f.bias.fill_(1.0)
    text = functional.normalize(torch.randn(2, TINY.text_dim), dim=-1)
    assert captioner.greedy(text, 60) == [[STOP_ID], [STOP_ID]]


def test_gpt2_of_transformers_loads_and_gives_its_logits(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = GPT2Config(n_positions=128, n_embd=32, n_layer=2, n_head=2, initializer_range=0.2)
    theirs = GPT2LMHeadModel(config)
    theirs.train(False)
    # As openai-community/gpt2 stores them: no prefix, and with the tables of causal attention.
    weights = {name: tensor.clone() for name, tensor in theirs.transformer.state_dict().items()}
    weights["h.0.attn.bias"] = torch.ones(1, 1, 128, 128).tril()
    save_file(weights, tmp_path / "model.safetensors")
    decoupler = Decoupler(TINY).eval()
    report = load_published(
        tmp_path / "model.safetensors", {"decoupler": decoupler}, only=["decoupler.captioner"]
    )
    assert report.missing == [f"decoupler.captioner.prefix.{what}" for what in ("bias", "weight")]
    assert (report.unexpected, report.recomputed) == ([], ["h.0.attn.bias"])
    text, ids = torch.randn(2, TINY.text_dim), torch.randint(0, STOP_ID, (2, 6))
    ours = decoupler.captioner
    with torch.no_grad():
        embeds = torch.cat((ours.embed_prefix(text), ours.embed_ids(ids[:, :-1])), dim=1)
        expected = theirs(inputs_embeds=embeds).logits
        torch.testing.assert_close(ours(text, ids), expected, rtol=1e-4, atol=1e-4)
