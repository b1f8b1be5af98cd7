"""gpt-oss in PyTorch, for training: the same sums as mlx_lm's `gpt_oss`, and the same names of parameters.

All experts are computed for every token, which is faster than sorting tokens while there are only four. torch is no
dependency of the project: `pip install torch` to train.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from gpt_oss_tiny.token_forms import FORMS, PIECES, WORD_CODES, TokenForms
from llm_server.harmony.encoding import VOCABULARY_SIZE

BLOCK: Final = 128
"""Tokens of one block of the sparse attention kernel."""


@dataclass(frozen=True)
class Sizes:
    """The fields of `config.json` that decide the shapes."""

    reduced_vocabulary: int
    spelled_words: int
    word_codes: int = WORD_CODES
    word_forms: int = FORMS
    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 32
    num_local_experts: int = 4
    num_experts_per_tok: int = 2
    intermediate_size: int = 192
    sliding_window: int = 128

    def config(self) -> dict[str, Any]:
        """The whole `config.json`, without quantisation."""
        return {
            "architectures": ["GptOssForCausalLM"],
            "model_type": "gpt_oss",
            "vocab_size": VOCABULARY_SIZE,
            **asdict(self),
            "layer_types": ["sliding_attention", "full_attention"] * (self.num_hidden_layers // 2),
            "max_position_embeddings": 131_072,
            "rms_norm_eps": 1e-5,
            "rope_theta": 150_000,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 32.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "original_max_position_embeddings": 4096,
                "truncate": False,
            },
            "tie_word_embeddings": True,
            "eos_token_id": [200_002, 199_999, 200_012],
        }


def yarn_frequencies(dims: int) -> tuple[Tensor, float]:
    """Wave lengths (dims / 2,) over 2 pi and the scale of rotated vectors, as `mlx_lm.models.rope_utils.YarnRoPE`."""
    base, factor, original = 150_000.0, 32.0, 4096

    def dimension(rotations: float) -> float:
        return dims * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low, high = max(math.floor(dimension(32.0)), 0), min(math.ceil(dimension(1.0)), dims - 1)
    extra = base ** (torch.arange(0, dims, 2, dtype=torch.float32) / dims)
    inter = factor * extra
    ramp = ((torch.arange(dims // 2, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
    keep = 1.0 - ramp
    return (inter * extra) / (inter * keep + extra * (1 - keep)), 0.1 * math.log(factor) + 1.0


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x (batch, heads, length, head_dim) by angles (length, head_dim / 2), halves paired as in GPT-NeoX."""
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.sizes = s
        self.q_proj = nn.Linear(s.hidden_size, s.num_attention_heads * s.head_dim)
        self.k_proj = nn.Linear(s.hidden_size, s.num_key_value_heads * s.head_dim)
        self.v_proj = nn.Linear(s.hidden_size, s.num_key_value_heads * s.head_dim)
        self.o_proj = nn.Linear(s.num_attention_heads * s.head_dim, s.hidden_size)
        self.sinks = nn.Parameter(torch.zeros(s.num_attention_heads))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: BlockMask | Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            project(x).view(batch, length, -1, self.sizes.head_dim).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        attend = dense_attention if isinstance(mask, Tensor) else sparse_attention
        return self.o_proj(attend(q, k, v, self.sinks, mask).transpose(1, 2).reshape(batch, length, -1))


def sparse_attention(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, mask: Any) -> Tensor:
    """Attention over the blocks of the mask; a sink takes its share of the softmax through the log-sum-exp."""
    out, aux = flex_attention(q, k, v, block_mask=mask, enable_gqa=True, return_aux=AuxRequest(lse=True))
    return out * torch.sigmoid(aux.lse - sinks[:, None]).unsqueeze(-1).to(out.dtype)


def dense_attention(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, mask: Any) -> Tensor:
    """The same with a boolean mask (length, length) or (batch, 1, length, length); plain, for evaluation and tests."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    scores = scores.masked_fill(~mask, -1e9)
    sink = sinks.float().view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
    return torch.cat((scores, sink), dim=-1).softmax(dim=-1)[..., :-1].to(v.dtype) @ v


class Experts(nn.Module):
    """The three matrices of every expert, (experts, out, in) as in MLX."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        e, h, i = s.num_local_experts, s.hidden_size, s.intermediate_size
        self.gate_proj, self.up_proj, self.down_proj = Stacked(e, i, h), Stacked(e, i, h), Stacked(e, h, i)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Mixture of the experts' outputs for x (…, hidden) with weights (…, experts), zero for those not chosen."""
        shape = (*x.shape[:-1], *self.gate_proj.bias.shape)
        gate = F.linear(x, self.gate_proj.weight.flatten(0, 1), self.gate_proj.bias.flatten()).view(shape)
        up = F.linear(x, self.up_proj.weight.flatten(0, 1), self.up_proj.bias.flatten()).view(shape)
        gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
        active = (up + 1.0) * (gate * torch.sigmoid(1.702 * gate)) * weights.unsqueeze(-1).to(gate.dtype)
        down = self.down_proj.weight.transpose(1, 2).flatten(0, 1)
        return active.flatten(-2) @ down.to(active.dtype) + weights.to(active.dtype) @ self.down_proj.bias.to(
            active.dtype
        )


class Stacked(nn.Module):
    def __init__(self, experts: int, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(experts, outputs, inputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(experts, outputs))


class Mixture(nn.Module):
    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.sizes = s
        self.router = nn.Linear(s.hidden_size, s.num_local_experts)
        self.experts = Experts(s)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's output and its imbalance: 1 when the experts are used evenly (Switch, arXiv:2101.03961)."""
        with torch.autocast(x.device.type, enabled=False):
            scores = F.linear(x.float(), self.router.weight, self.router.bias)
            best, chosen = scores.topk(self.sizes.num_experts_per_tok, dim=-1)
            weights = torch.zeros_like(scores).scatter(-1, chosen, best.softmax(dim=-1))
            used = (weights > 0).float().flatten(0, -2).mean(dim=0) / self.sizes.num_experts_per_tok
            imbalance = self.sizes.num_local_experts * (used * scores.softmax(-1).flatten(0, -2).mean(dim=0)).sum()
        return self.experts(x, weights), imbalance


class Layer(nn.Module):
    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.self_attn = Attention(s)
        self.mlp = Mixture(s)
        self.input_layernorm = nn.RMSNorm(s.hidden_size, eps=1e-5)
        self.post_attention_layernorm = nn.RMSNorm(s.hidden_size, eps=1e-5)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: BlockMask | Tensor) -> tuple[Tensor, Tensor]:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        mixed, imbalance = self.mlp(self.post_attention_layernorm(x))
        return x + mixed, imbalance


class SharedRows(nn.Module):
    """The table from which embeddings are put together; see `llm_server.engine.reduced_vocabulary`.

    `code_rows` (VOCABULARY_SIZE + 1, 3) has the table's rows of first code, second code and form for each id, counted
    from the first code; `spelling` (VOCABULARY_SIZE, PIECES) the ids that spell it. Whatever is not there is the id
    VOCABULARY_SIZE, whose code rows are the row of zeros.
    """

    code_rows: Tensor
    spelling: Tensor
    own_ids: Tensor

    def __init__(self, sizes: Sizes, token_ids: list[int], forms: TokenForms) -> None:
        super().__init__()
        self.own, self.codes = len(token_ids), 2 * sizes.word_codes + sizes.word_forms
        self.weight = nn.Parameter(torch.randn(self.own + self.codes + 1, sizes.hidden_size))
        first, second = torch.from_numpy(forms.codes).long()
        form = torch.from_numpy(forms.forms).long()
        columns = torch.stack((first, second + sizes.word_codes, form + 2 * sizes.word_codes), dim=-1)
        spelling = torch.full((VOCABULARY_SIZE, PIECES), VOCABULARY_SIZE)
        for token, pieces in forms.pieces.items():
            spelling[token, : len(pieces)] = torch.tensor(pieces)
        self.register_buffer("own_ids", torch.tensor(token_ids), persistent=False)
        self.register_buffer("code_rows", F.pad(columns, (0, 0, 0, 1), value=self.codes), persistent=False)
        self.register_buffer("spelling", spelling, persistent=False)

    def initialise(self) -> None:
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)
        nn.init.zeros_(self.weight[-1:].detach())

    def coded(self, ids: Tensor) -> Tensor:
        """Sums of the code rows (…, hidden) of ids (…): a product, whose gradient is far faster than a gather's."""
        rows = self.code_rows[ids]
        if not torch.is_grad_enabled():
            return F.embedding(rows + self.own, self.weight).sum(dim=-2)
        hot = torch.zeros(*ids.shape, self.codes + 1, dtype=torch.bfloat16, device=ids.device).scatter_(-1, rows, 1.0)
        return hot[..., :-1] @ self.weight[self.own : -1].to(hot.dtype)

    def forward(self, others: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of rows, and of rows of pieces, for the ids with rows of their own and then for `others` (count,)."""
        ids = torch.cat((self.own_ids, others))
        sums = self.coded(ids).float()
        own = F.pad(self.weight[: self.own], (0, 0, 0, others.shape[0]))
        return sums + own, self.coded(self.spelling[ids]).flatten(-2)


class GptOss(nn.Module):
    """Ids are counted in a batch's own vocabulary: those that have rows of their own, and then some others."""

    def __init__(self, sizes: Sizes, token_ids: list[int], forms: TokenForms) -> None:
        super().__init__()
        self.sizes = sizes
        self.embed_tokens = SharedRows(sizes, token_ids, forms)
        self.spelling_proj = nn.Linear(PIECES * sizes.hidden_size, sizes.hidden_size, bias=False)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.num_hidden_layers))
        self.norm = nn.RMSNorm(sizes.hidden_size, eps=1e-5)
        self.initialise()

    def initialise(self) -> None:
        """Small outputs of each layer, so that the residual stream starts as the embedding."""
        self.embed_tokens.initialise()
        nn.init.normal_(self.spelling_proj.weight, std=(PIECES * self.sizes.hidden_size) ** -0.5)
        small = (2 * self.sizes.num_hidden_layers) ** -0.5
        for layer in self.layers:
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                linear = getattr(layer.self_attn, name)
                nn.init.normal_(linear.weight, std=linear.in_features**-0.5 * (small if name == "o_proj" else 1.0))
                nn.init.zeros_(linear.bias)
            layer.mlp.experts.down_proj.weight.data.mul_(small)
            nn.init.normal_(layer.mlp.router.weight, std=0.02)
            nn.init.zeros_(layer.mlp.router.bias)

    def angles(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines (length, head_dim / 2), scaled as YaRN scales queries and keys."""
        lengths, scale = yarn_frequencies(self.sizes.head_dim)
        turns = torch.arange(length, dtype=torch.float32)[:, None] / lengths
        return (turns.cos() * scale).to(device), (turns.sin() * scale).to(device)

    def vocabulary(self, others: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and output rows, each (reduced_vocabulary + count, hidden), for `others` (count,)."""
        rows, pieces = self.embed_tokens(others)
        return rows + self.spelling_proj(pieces).float(), rows

    def forward(self, embedded: Tensor, cos: Tensor, sin: Tensor, masks: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, length, hidden) and the mean imbalance; masks are for sliding and full layers."""
        x = embedded
        imbalance = torch.zeros((), device=x.device)
        for number, layer in enumerate(self.layers):
            x, uneven = layer(x, cos, sin, masks[number % 2])
            imbalance = imbalance + uneven
        return self.norm(x), imbalance / len(self.layers)


def block_mask(lowest: Tensor) -> BlockMask:
    """Attend from each place to those from `lowest` (batch, length) up to itself; `lowest` never falls in a row."""
    length = lowest.shape[1]
    blocks = torch.arange(length // BLOCK, device=lowest.device, dtype=torch.int32)
    first = lowest[:, ::BLOCK] // BLOCK
    count = blocks[None] - first + 1
    indices = (first[:, :, None] + blocks).clamp(max=length // BLOCK - 1)

    def allowed(b: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (k >= lowest[b, q])

    return BlockMask.from_kv_blocks(
        count[:, None].int(), indices[:, None].int(), BLOCK_SIZE=BLOCK, mask_mod=allowed, seq_lengths=(length, length)
    )


def lowest_places(starts: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """The first place that each one sees (batch, length), in sliding and in full layers, given its document's start."""
    places = torch.arange(starts.shape[1], device=starts.device, dtype=starts.dtype)
    return torch.maximum(starts, places - window + 1), starts


def dense_masks(starts: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """The same as boolean masks (batch, 1, length, length)."""
    places = torch.arange(starts.shape[1], device=starts.device)

    def mask(lowest: Tensor) -> Tensor:
        return ((places[None, None, :] <= places[None, :, None]) & (places >= lowest[:, :, None]))[:, None]

    sliding, full = lowest_places(starts, window)
    return mask(sliding), mask(full)
