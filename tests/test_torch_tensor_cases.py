"""What PyTorch's listings do with tensors, one line each: shapes, dtypes, values and gradients beside torch's."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq

torch = pytest.importorskip("torch")

# x, y (3, 4) and v (4,), b (2, 3, 4), c (2, 4, 5) require grad; p is positive, d does not require grad;
# k holds integers (3, 4), i places 0..3 (3, 2), m is a mask (3, 4), s the number 2.5
CASES = """
x.view(4, 3); x.view(-1); x.view((2, 6)); x.view(-1, 2); x.view(torch.Size([4, 3])); x.reshape(2, -1); x.reshape(12)
x.view_as(b[0]); x.reshape_as(b[0].t()); b.flatten(); b.flatten(1); torch.flatten(b, 1, 2); b.flatten(start_dim=1)
b.unflatten(2, (2, 2)); b.permute(2, 0, 1); torch.permute(b, (2, 0, 1)); b.transpose(1, 2); torch.transpose(b, 0, 1)
x.t(); torch.t(x); x.T; b.mT; b.swapaxes(0, 1); torch.swapaxes(b, 0, 1); b.movedim(0, 2); torch.movedim(b, 0, -1)
b.swapdims(0, 1); x.unsqueeze(0); x.unsqueeze(-1); torch.unsqueeze(x, 1); x.unsqueeze(dim=1)
x.unsqueeze(1).squeeze(1); x[None].squeeze(); torch.squeeze(x[:, None], 1); torch.squeeze(x[None]); x[None].squeeze(1)
x[None, :, None].squeeze((0, 2)); torch.cat([x, y]); torch.cat((x, y), 1); torch.cat([x, y], dim=-1)
torch.concat([x, y], 0); torch.stack([x, y]); torch.stack((x, y), dim=2); torch.concatenate([x, y], dim=1)
torch.hstack([x, y]); torch.vstack([x, y]); torch.vstack([v, v]); torch.hstack([v, v])
torch.cat([x, torch.zeros(0, 4, dtype=torch.float64)]); x.chunk(2, 1); x.chunk(2); torch.chunk(x, 3, dim=1)
x.split(2); x.split([1, 3], 1); torch.split(x, 2, dim=1); x.split(2, dim=-1); torch.split(x, [1, 2], dim=0)
x.unbind(); torch.unbind(x, 1); torch.unbind(b, dim=0); b.select(1, 2); torch.select(b, 2, -1); x.narrow(1, 1, 2)
torch.narrow(x, 0, 0, 2); x.gather(1, i); torch.gather(x, 1, i); torch.gather(input=x, dim=0, index=i[:, :2] % 3)
x.gather(dim=1, index=i).squeeze(); x.index_select(0, i[:, 0] % 3); torch.index_select(x, 1, i[:, 1])
torch.index_select(x, dim=1, index=i[0]); x.masked_fill(m, -1e9); x.masked_fill(m, float("-inf")).softmax(1)
torch.masked_fill(x, m, 0.0); x.masked_fill(m == 0, s); x.masked_fill(mask=m, value=3); x.masked_select(m)
torch.masked_select(x, m); x[m]; x[i[:, 0] % 3]; x[:, i[0]]; x[x > 0]; x[torch.arange(3), i[:, 0]]; x[..., -1]; x[1]
x[-1, :2]; x[:, None]; x[0:2, ::2]; b[:, -1]; b[:, -1, :]; b[0][1][2]; x[[0, 2]]; x[:, [0, 3]]; x[torch.tensor(1)]
x[torch.tensor([True, False, True])]; torch.where(m, x, y); torch.where(m, x, 0.0); torch.where(x > 0, x, 0)
torch.where(m, 1.0, 0.0); x.where(m, y); torch.where(m); torch.take(x, i); x.take(i); torch.take_along_dim(x, i, 1)
torch.take_along_dim(x, x.argsort(1), dim=1); d.scatter(1, i, 2.5); torch.scatter(d, 1, i[:, :1], y[:, :1])
x.scatter(1, i[:, :1], y[:, :1]); x.scatter_add(1, i, y[:, :2]); torch.scatter_add(x, 1, i, y[:, :2]); torch.diag(v)
torch.diag(x[:, :3]); x.diagonal(); torch.diagonal(b, dim1=1, dim2=2); x.topk(2); torch.topk(x, 2); x.topk(1, dim=1)
torch.topk(x, k=2, dim=0)[0]; x.topk(2, largest=False); x.topk(2)[1]; x.topk(3).values; x.topk(3, 1).indices; x.sort()
torch.sort(x, 1); x.sort(dim=0, descending=True); torch.sort(x, descending=True)[0]; x.sort().values; x.argsort()
torch.argsort(x, 1, descending=True); x.argsort(dim=0, descending=True); x.argsort(descending=True); k.unique()
torch.unique(k); torch.unique(k, return_counts=True); torch.unique(k, return_inverse=True); k.sort(stable=True)
torch.unique(k, dim=0); k.nonzero(); torch.nonzero(k); m.nonzero(); torch.nonzero(m, as_tuple=True)
k[0].nonzero().squeeze(1); m.nonzero(as_tuple=True)[0]; k.count_nonzero(); torch.count_nonzero(k, dim=1)
torch.bincount(k.flatten()); torch.bincount(k.flatten(), minlength=9); k.flatten().bincount(); x.argmax(); x.argmax(1)
x.argmax(dim=-1, keepdim=True); torch.argmax(x, dim=1); x.argmin(0); torch.argmin(x); torch.argmin(x, 1)
torch.argmax(x, 1, keepdim=True); x.max(); x.min(); torch.max(x); torch.min(x); x.max(1); x.max(dim=1); x.max(1)[1]
x.max(dim=-1, keepdim=True); x.max(-1)[0]; x.max(1).values; x.max(1).indices; torch.max(x, 1); torch.max(x, dim=0)
torch.max(x, 1)[1]; x.max(1, keepdim=True); x.max(1, keepdim=True)[1]; torch.max(x, 1, True); x.min(dim=1)
torch.min(x, 1); torch.min(x, 1)[0]; torch.max(x, y); torch.min(x, y); x.data.max(1, keepdim=True)[1]; k.max(1)
k.max(); k.double().max(1)[0]; torch.max(k, 1)[0]; x.amax(1); x.amin((0, 1)); torch.amax(x, 1)
torch.amin(x, dim=0, keepdim=True); x.maximum(y); torch.maximum(x, y); torch.minimum(x, y); x.median(); x.median(1)
torch.median(x, dim=1)[0]; torch.median(x[:, :3]); k.median(); x.sum(); x.sum(1); x.sum(dim=1)
x.sum(-1, keepdim=True); torch.sum(x); torch.sum(x, 1); torch.sum(x, dim=(0, 1)); b.sum((1, 2))
torch.sum(x, dim=1, keepdim=True); x.sum(1, True); m.sum(); m.sum(1); k.sum(); (x > 0).sum().item(); (k == k).sum()
x.sum(0).sum(); k.sum(dtype=torch.float32); x.sum(dim=[0]); x.mean(); x.mean(0); x.mean(dim=1); torch.mean(x)
torch.mean(x, dim=1, keepdim=True); x.mean(1, True); m.float().mean(); x.mean((0, 1)); x.std(); x.std(1)
x.std(dim=0, keepdim=True); torch.std(x); torch.std(x, dim=1); x.std(1, unbiased=False); x.std(dim=1, correction=0)
x.var(); x.var(1); x.var(dim=1, unbiased=False); torch.var(x, 0); torch.var(x, dim=1, correction=0)
x.std(unbiased=False); x.var(-1, keepdim=True, unbiased=False); x.std(-1, keepdim=True); x.std(0, False); x.prod()
x.prod(1); torch.prod(x, dim=0); torch.prod(x); k.prod(); k.prod(1); torch.prod(torch.tensor([2, 3])).item()
x.cumsum(0); torch.cumsum(x, dim=1); k.cumsum(1); m.cumsum(1); x.logsumexp(1); torch.logsumexp(x, dim=1, keepdim=True)
x.logsumexp(-1); x.norm(); x.norm(2); x.norm(p=1); x.norm(dim=1); x.norm(2, 1); torch.norm(x)
torch.norm(x, dim=1, keepdim=True); x.norm(p=2, dim=-1); torch.norm(x, 2, 1); torch.norm(x, p=float("inf")); m.any()
m.any(1); m.all(dim=1); torch.any(m, dim=0); torch.all(m); k.any(); torch.any(m, 1, keepdim=True)
m.all(1, keepdim=True); torch.equal(x, x); torch.equal(x, y); torch.allclose(x, x + 1e-9); x.equal(x); x.allclose(y)
x.flip(0); x.flip(0, 1); torch.flip(x, [0]); torch.flip(x, dims=(1,)); x.flip(dims=[0]); x.flip([0, 1]); x.roll(1)
x.roll(1, 0); torch.roll(x, 2, dims=1); torch.roll(x, shifts=(1, -1), dims=(0, 1)); x.roll(shifts=-1, dims=1)
x.repeat(2, 1); x.repeat(2, 3, 1); v.repeat(3); v.repeat(3, 1); x.tile((2,)); torch.tile(x, (1, 2)); v.repeat((2, 2))
x.unsqueeze(1).repeat(1, 5, 1); x[:, None].expand(3, 5, 4); x.unsqueeze(1).expand(-1, 5, -1); v.expand(3, 4)
v.expand(3, -1); v.expand_as(x); v.broadcast_to((3, 4)); x.unsqueeze(0).expand(2, -1, -1).contiguous()
torch.broadcast_to(v, (2, 4)); v.expand((2, 4)); x.repeat_interleave(2, 0); x.repeat_interleave(2, dim=1)
v.repeat_interleave(2); torch.repeat_interleave(x, 2, dim=0)
torch.repeat_interleave(x, torch.tensor([1, 0, 2]), dim=0); torch.repeat_interleave(v, 3)
v.repeat_interleave(torch.tensor([1, 2, 0, 1])); x.detach(); x.clone(); x.clone().detach(); x.detach().clone()
x.contiguous(); x.cpu(); x.data; x.requires_grad; x.item; x[0, 0].item(); x.tolist(); x.detach().numpy()
x.detach().cpu().numpy(); k.tolist(); k[0, 0].item(); x.sum().tolist(); m.tolist(); x.size(); x.size(0); x.size(-1)
x.size(dim=1); x.shape; x.shape[0]; list(x.shape); x.dim(); x.ndim; x.numel(); torch.numel(x); len(x); x.nelement()
x.is_contiguous(); x.shape == (3, 4); x.size() == y.size(); b.shape[-2:]; x.ndim == 2; x.dtype == torch.float64
x.float().dtype == torch.float32; k.dtype == torch.long; m.dtype == torch.bool; k.is_floating_point()
torch.is_tensor(x); x.device.type; str(x.device); x.is_cuda; x.requires_grad; x.float(); x.double(); x.long(); x.int()
x.bool(); k.float(); k.double(); m.float(); m.long(); m.int(); k.bool(); x.to(torch.float32); k.to(torch.float32)
x.to("cpu"); x.to(torch.device("cpu")); x.to(device="cpu", dtype=torch.float32); x.to("cpu", torch.float32); x.to(y)
k.to(x); x.type(torch.float32); x.to(dtype=torch.float32); k.type_as(x); x.to("cpu", non_blocking=True)
x.float().double(); x.eq(y); x.ne(y); x.gt(0); x.ge(0); x.lt(y); x.le(y); torch.eq(x, y); torch.gt(x, 0)
torch.lt(x, y); torch.ge(x, y); torch.le(x, 0); torch.ne(k, 1); x == y; x != y; x > 0; x >= 0; x < y; x <= y; k == 2
k.eq(k); (k == 1) & m; m | (k == 1); ~m; m ^ m; m.logical_not(); torch.logical_and(m, k > 0)
torch.logical_or(m, k > 0); torch.logical_not(m); m.logical_and(k); m & 1 == 1; m * x; x * m.float(); 1 - m.float()
x.clamp(-0.5, 0.5); x.clamp(min=0); x.clamp(max=0.3); torch.clamp(x, 0, 1); torch.clamp(x, min=0.1); x.clamp_min(0)
x.clip(0, 1); x.clamp_max(0.2); torch.clamp(x, min=-0.1, max=0.1); k.clamp(1, 2); torch.clamp_min(x, 0.0)
k.clamp(min=1); x.abs(); torch.abs(x); abs(x); x.sqrt; p.sqrt(); torch.sqrt(p); x.pow(2); torch.pow(x, 3); x ** 2
p ** 0.5; 2 ** x; torch.pow(2, x); p.pow(y); torch.pow(x, 2.0); x.square(); torch.square(x); p.rsqrt(); torch.rsqrt(p)
p.reciprocal(); torch.reciprocal(p); 1 / p; x.neg(); torch.neg(x); -x; x.sign(); torch.sign(x); x.exp(); torch.exp(x)
p.log(); torch.log(p); p.log1p(); torch.log1p(p); p.log2(); p.log10(); torch.log2(p); torch.log10(p); x.expm1()
torch.expm1(x); x.sin(); x.cos(); torch.sin(x); torch.cos(x); x.erf(); x.tanh(); torch.tanh(x); x.sigmoid()
torch.sigmoid(x); x.relu(); torch.relu(x); torch.erf(x); x.floor(); torch.floor(x); x.ceil(); torch.ceil(x); x.round()
torch.round(x); torch.round(x, decimals=1); x.trunc(); torch.remainder(x, 2); k % 2; k // 2; x % 1
torch.div(x, 2); torch.div(k, 2); k / 2; torch.div(k, 2, rounding_mode="floor")
torch.div(k, 3, rounding_mode="trunc"); torch.floor_divide(k, 2); k.div(2); x.div(y); x.remainder(y); torch.isnan(x)
torch.isfinite(x); x.isnan().any(); x.lerp(y, 0.3); torch.lerp(x, y, 0.25); x + y; x - y; x * y; x / p; x + 1; 1 + x
1 - x; 2 * x; x / 2; 2 / p; x.add(y); x.add(y, alpha=2); x.sub(y); x.mul(y); x.mul(2); torch.add(x, y)
torch.sub(x, y); torch.mul(x, y); torch.add(x, y, alpha=0.5); x.sub(y, alpha=2); k + 1; k * 2; k - k; k + x; k * 0.5
k / k.clamp(min=1); m + k; x + v; x * v; b + v; b * x; x[:, :1] * y; k + True; -k; k ** 2; k.pow(2); k.float() / 3
k.abs(); torch.bmm(b, c); b.bmm(c); b @ c; x @ y.t(); torch.matmul(x, y.t()); x.mm(y.t()); torch.mm(x, y.T)
x.matmul(v); x.mv(v); torch.mv(x, v); torch.dot(v, v); v.dot(v); torch.matmul(b, v); torch.outer(v, v); v.outer(v)
torch.einsum("ij,kj->ik", x, y); torch.einsum("bij,bjk->bik", b, c); torch.einsum("ij->ji", x)
torch.einsum("ij,ij->i", x, y); torch.einsum("bij,j->bi", b, v); torch.einsum("ij->", x)
torch.einsum("...j,j->...", b, v); torch.einsum("bij,bjk->bik", [b, c]); torch.einsum("i,j->ij", v, v)
torch.einsum("ij,kj", x, y); torch.einsum("bhi,bji->bhj", b, b); x.softmax(1); x.softmax(dim=-1)
torch.softmax(x, dim=1); torch.softmax(x, 0); x.log_softmax(1); torch.log_softmax(x, dim=-1)
torch.nn.functional.softmax(x, dim=1); x.log_softmax(dim=0); torch.softmax(x, dim=1, dtype=torch.float64)
x.softmax(-1).argmax(-1); torch.nn.functional.log_softmax(x, dim=1); torch.nn.functional.relu(x)
torch.nn.functional.normalize(x, dim=1); torch.nn.functional.one_hot(k); torch.nn.functional.one_hot(k, num_classes=5)
torch.nn.functional.one_hot(k[0], 6).float(); torch.nn.functional.pad(x, (1, 2))
torch.nn.functional.pad(x, (0, 0, 1, 0), value=2.0); torch.nn.functional.logsigmoid(x)
torch.nn.functional.cosine_similarity(x, y); torch.nn.functional.cosine_similarity(x, y, dim=0); torch.tril(x)
torch.triu(x, diagonal=1); x.tril(); x.triu(1); torch.triu(torch.ones(4, 4), diagonal=1).bool()
torch.tril(torch.ones(3, 3)) == 0; torch.triu(torch.full((3, 3), float("-inf")), diagonal=1); torch.zeros(2, 3)
torch.zeros((2, 3)); torch.zeros(3, dtype=torch.long); torch.zeros(2, device="cpu"); torch.ones(2, 3); torch.ones([2])
torch.ones(3, dtype=torch.bool); torch.empty(2, 3).shape; torch.zeros(size=(2, 3)); torch.zeros(x.size(0), 2)
torch.zeros(x.shape); torch.zeros(1, 2, requires_grad=True)
torch.empty((2, 3), dtype=torch.float64).dtype == torch.float64; torch.zeros(()); torch.full((2, 3), 7.0)
torch.full((2,), 7); torch.full((1, 3), -10000.0); torch.full((2,), True); torch.full((2, 2), 0, dtype=torch.float32)
torch.full((2,), 1.5, device="cpu"); torch.full(size=(2,), fill_value=3); torch.arange(5); torch.arange(1, 5)
torch.arange(0, 10, 2); torch.arange(0.0, 1.0, 0.25); torch.arange(5, dtype=torch.float32); torch.arange(0, 6, step=3)
torch.arange(5, device="cpu"); torch.arange(4, 0, -1); torch.arange(end=3); torch.linspace(0, 1, 5)
torch.linspace(0, 1, steps=3); torch.eye(3); torch.eye(2, 3); torch.eye(3, dtype=torch.bool)
torch.linspace(-1, 1, 4, dtype=torch.float64); torch.linspace(start=0, end=1, steps=3); torch.zeros_like(x)
torch.ones_like(x); torch.full_like(x, 2.0); torch.empty_like(x).shape; torch.zeros_like(x, dtype=torch.long)
torch.ones_like(k, dtype=torch.float32); torch.full_like(k, 2); x.new_zeros(2, 3); x.new_ones((2,))
x.new_full((2, 2), 3.0); x.new_tensor([1.0, 2.0]); x.new_empty(2).shape; k.new_zeros(2)
x.new_zeros(2, dtype=torch.long); x.new_zeros((1, 2)); k.new_tensor([1, 2]); torch.tensor([1, 2])
torch.tensor([1.0, 2.0]); torch.tensor([[1, 2], [3, 4]], dtype=torch.float); torch.tensor(3); torch.tensor(2.5)
torch.tensor([True]); torch.tensor([], dtype=torch.long); torch.tensor([1], device="cpu"); torch.tensor(np.zeros(2))
torch.tensor(np.float64(1.5)); torch.as_tensor([1.0]); torch.as_tensor(np.zeros(2), dtype=torch.float32)
torch.from_numpy(np.arange(3)); torch.FloatTensor([1, 2]); torch.LongTensor([1, 2]); torch.tensor(data=[1])
torch.DoubleTensor([1]); torch.BoolTensor([True]); torch.IntTensor([1]); torch.tensor([x[0, 0].item()])
torch.LongTensor([[1]]).shape; torch.as_tensor(d); torch.tensor([1, 2.5]); torch.rand(2, 3).shape
torch.randn(2, 3).dtype; torch.randn((2, 3)).shape; torch.randn_like(x).dtype; torch.rand_like(x).shape
torch.randint(0, 5, (3,)).dtype; torch.randint(5, (2, 2)).shape; torch.randint(0, 5, size=(3,)).shape
torch.randint(low=0, high=3, size=(2,)).shape; torch.randperm(5).sort()[0]; torch.normal(0.0, 1.0, size=(2, 3)).shape
torch.normal(d, 1.0).shape; torch.randn(2, device="cpu").shape; torch.randperm(4).dtype
torch.bernoulli(torch.ones(3)); torch.bernoulli(torch.zeros(3))
torch.multinomial(torch.tensor([0.0, 1.0]), 3, replacement=True)
torch.multinomial(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 1); torch.multinomial(torch.ones(4), 4).sort()[0]
torch.bernoulli(torch.full((2,), 0.5)).shape; torch.rand(3, dtype=torch.float64).dtype
torch.empty(3).uniform_(0, 1).shape; torch.empty(3).normal_(0, 1).shape; torch.zeros(3).normal_().dtype
torch.empty(2).bernoulli_(1.0); torch.randint(0, 2, (3,), dtype=torch.float32).dtype
torch.randn(2, 3, generator=None).shape; torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")
torch.numel(b); d.clone().add_(1); d.clone().add_(d, alpha=2); d.clone().sub_(d); d.clone().mul_(2); d.clone().div_(2)
d.clone().zero_(); d.clone().fill_(3); d.clone().clamp_(0, 1); d.clone().clamp_(min=0); d.clone().copy_(d + 1)
d.clone().neg_(); d.clone().exp_(); d.clone().pow_(2); d.clone().masked_fill_(m, 0); d.clone().scatter_(1, i, 1.0)
d.clone().scatter_(1, i[:, :1], 1); torch.zeros(3, 4).scatter_(1, i[:, :1], 1.0)
torch.zeros(3, 5).scatter_(1, k[:, :1], 1); torch.zeros(3, 4).scatter_add_(1, i, torch.ones(3, 2)); d.clone().round_()
d.clone().relu_(); d.clone().tanh_(); d.clone().sigmoid_(); d.clone().abs_(); d.clone().clamp_min_(0.0)
d.clone().lerp_(d, 0.5)
""".replace("\n", "; ").split("; ")  # fmt: skip
CASES = [case.strip() for case in CASES if case.strip()]


def inputs(module):
    """The namespace that the lines are run in, of either package."""
    rng = np.random.default_rng(5)

    def make(*shape):
        drawn = module.tensor(rng.standard_normal(shape))
        drawn.requires_grad_()
        return drawn

    names = {"x": make(3, 4), "y": make(3, 4), "v": make(4), "b": make(2, 3, 4), "c": make(2, 4, 5), "s": 2.5}
    names["p"] = module.tensor(rng.random((3, 4)) + 0.5)
    names["p"].requires_grad_()
    names["d"] = module.tensor(rng.standard_normal((3, 4)))
    names["k"] = module.tensor(rng.integers(0, 5, (3, 4)))
    names["i"] = module.tensor(rng.permuted(np.tile(np.arange(4), (3, 1)), axis=1)[:, :2])
    names["m"] = module.tensor(rng.random((3, 4)) < 0.4)
    return names | {"torch": module, "np": np}


def parts(value):
    """A result's parts: tensors become arrays."""
    if isinstance(value, (tuple, list)) and not all(isinstance(one, int) for one in value):  # shapes are one part
        return [part for one in value for part in parts(one)]
    return [value]


def differences(case):
    """What differs between the two, in words."""
    theirs, ours = inputs(torch), inputs(fastseq)
    want, found = parts(eval(case, theirs)), parts(eval(case, ours))
    if len(want) != len(found):
        return f"{len(found)} parts, expected {len(want)}"
    weights = np.random.default_rng(1)
    for one, other in zip(want, found, strict=True):
        if not isinstance(one, torch.Tensor):
            if callable(one) or isinstance(one, torch.dtype):
                continue
            if isinstance(one, torch.Size):
                one, other = tuple(one), tuple(other)
            if isinstance(one, np.ndarray):
                np.testing.assert_allclose(other, one)
            elif type(one) is not type(other) or (one != other and not np.isclose(one, other)):
                return f"{other!r}, expected {one!r}"
            continue
        if not isinstance(other, fastseq.Tensor):
            return f"a {type(other).__name__}, expected a Tensor"
        if str(one.dtype).removeprefix("torch.") != str(other.dtype):
            return f"dtype {other.dtype}, expected {one.dtype}"
        if tuple(one.shape) != tuple(other.shape):
            return f"shape {other.shape}, expected {tuple(one.shape)}"
        if not np.allclose(
            other.detach().numpy(), one.detach().numpy(), 1e-6 if one.dtype == torch.float32 else 1e-10, equal_nan=True
        ):
            return f"{other.tolist()}, expected {one.tolist()}"
        if one.requires_grad != other.requires_grad:
            return f"requires_grad={other.requires_grad}"
        if one.requires_grad and not one.is_leaf:
            upstream = weights.standard_normal(one.shape)
            one.backward(torch.as_tensor(upstream, dtype=one.dtype), retain_graph=True)
            other.backward(upstream)
            other = None
            if len(want) > 1:  # one backward pass for each graph here
                break
    if len(want) > 1:
        theirs, ours = inputs(torch), inputs(fastseq)
        for names in (theirs, ours):
            total = (
                sum((part * part).sum() for part in parts(eval(case, names)) if part.requires_grad)
                if hasattr(want[0], "requires_grad")
                else None
            )
            if hasattr(total, "backward"):
                total.backward()
    for name, one in theirs.items():
        if isinstance(one, torch.Tensor) and one.requires_grad:
            want_grad = np.zeros(one.shape) if one.grad is None else one.grad.numpy()
            other = ours[name]
            found_grad = np.zeros(one.shape) if other.grad is None else other.grad.numpy()
            if not np.allclose(found_grad, want_grad, 1e-9, 1e-12, equal_nan=True):
                return f"gradient of {name}"
    return ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_like_torch(case):
    assert differences(case) == ""
