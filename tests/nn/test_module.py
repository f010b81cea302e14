"""Module and Parameter: registration, names, modes, state dicts, dtypes, copies."""

from __future__ import annotations

import copy
import pickle
import threading
from collections import OrderedDict

import numpy as np
import pytest

from fastseq import nn
from fastseq.autograd.tensor import Tensor
from fastseq.nn.module import Module, Parameter


class Leaf(Module):
    _config = ("size", "bias")

    def __init__(self, size=2, bias=True, dtype=np.float32):
        self.size = size
        self.weight = Parameter(np.arange(size, dtype=dtype))
        self.register_parameter("bias", Parameter(np.zeros(1, dtype)) if bias else None)
        self.register_buffer("count", np.zeros((), np.int64))
        self.register_buffer("scratch", np.zeros(3, dtype), persistent=False)
        self.dtype = np.dtype(dtype)

    def forward(self, x):
        return x


class Tree(Module):
    def __init__(self):
        self.first = Leaf(3)
        self.second = nn.ModuleList([Leaf(2, bias=False), Leaf(1)])
        self.scale = Parameter(np.ones(4, np.float32))
        self.word = "plain"

    def forward(self, x, lengths=None):
        return x


def test_attributes_are_found_under_their_dotted_names():
    tree = Tree()
    names = ["scale", "first.weight", "first.bias", "second.0.weight", "second.1.weight", "second.1.bias"]
    assert [name for name, _ in tree.named_parameters()] == names
    assert [name for name, _ in tree.named_parameters("m", recurse=False)] == ["m.scale"]
    assert [name for name, _ in tree.named_modules()] == ["", "first", "second", "second.0", "second.1"]
    assert [name for name, _ in tree.named_children()] == ["first", "second"]
    assert [name for name, _ in tree.named_buffers()][:2] == ["first.count", "first.scratch"]
    assert tree.num_parameters() == 4 + 4 + 2 + 2
    assert tree.word == "plain"
    assert {"first", "scale", "word"} <= set(dir(tree))
    with pytest.raises(AttributeError, match="Tree has no attribute 'third'"):
        _ = tree.third


def test_reassigning_and_deleting():
    leaf = Leaf()
    leaf.weight = Parameter(np.ones(5, np.float32))
    assert [name for name, _ in leaf.named_parameters()] == ["weight", "bias"]
    leaf.bias = None
    assert [name for name, _ in leaf.named_parameters()] == ["weight"]
    assert leaf.bias is None
    with pytest.raises(TypeError, match="weight: expected a Parameter or None"):
        leaf.weight = np.ones(5)
    leaf.count = np.ones((), np.int64)
    assert isinstance(leaf.count, Tensor)
    del leaf.weight
    assert list(leaf.parameters()) == []
    leaf.weight = "now a word"
    assert leaf.weight == "now a word"
    tree = Tree()
    with pytest.raises(TypeError, match="first: expected a Module or None"):
        tree.first = 3
    tree.first = None
    assert tree.first is None
    tree.word = Leaf()
    assert "word" in dict(tree.named_children())
    del tree.word
    with pytest.raises(AttributeError):
        del tree.word


def test_names_are_checked():
    leaf = Leaf()
    for name in ("", "a.b"):
        with pytest.raises(ValueError, match="name: expected a non-empty name without dots"):
            leaf.register_parameter(name, None)
    with pytest.raises(ValueError, match="name: expected a name that is not in use"):
        leaf.register_buffer("forward", None)
    with pytest.raises(TypeError, match="parameter: expected a Parameter or None"):
        leaf.register_parameter("w", np.ones(3))
    with pytest.raises(TypeError, match="module: expected a Module or None"):
        leaf.add_module("w", print)
    with pytest.raises(ValueError, match="does not contain its new owner"):
        leaf.itself = leaf
    with pytest.raises(TypeError, match="Bare: expected a class with a forward method"):

        class Bare(Module):
            pass

        Bare()(1)


def test_forward_says_whether_lengths_are_used():
    assert Tree.uses_lengths and not Leaf.uses_lengths

    class Stepwise(Tree):
        def forward(self, x):
            return x

    assert not Stepwise.uses_lengths


def test_shared_parameters_come_once():
    tree = Tree()
    tree.first.bias = tree.second[1].bias
    assert sum(p is tree.first.bias for p in tree.parameters()) == 1
    assert {"first.bias", "second.1.bias"} <= set(tree.state_dict())
    assert len(list(nn.Sequential(tree.first, tree.first).modules())) == 2


def test_modes_reach_every_module():
    tree = Tree()
    assert tree.training
    assert tree.eval() is tree
    assert not any(module.training for module in tree.modules())
    tree.train()
    assert all(module.training for module in tree.modules())
    with pytest.raises(TypeError, match="mode"):
        tree.train("yes")
    seen = []
    tree.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Leaf", "Leaf", "Leaf", "ModuleList", "Tree"]


def test_gradients_are_forgotten_and_parameters_frozen():
    tree = Tree()
    tree.scale._accumulate(np.ones(4, np.float32))
    tree.zero_grad(set_to_none=False)
    assert tree.scale.grad.tolist() == [0, 0, 0, 0]
    tree.zero_grad()
    assert tree.scale.grad is None
    tree.first.requires_grad_(False)
    assert tree.num_parameters(trainable_only=True) == tree.num_parameters() - 4


def test_state_dict_shares_storage_and_loads_back():
    tree, other = Tree(), Tree()
    state = tree.state_dict()
    assert "first.scratch" not in state and "first.count" in state
    assert isinstance(state, OrderedDict) and not state["scale"].requires_grad
    assert np.shares_memory(state["scale"].numpy(), tree.scale._data)
    for tensor in state.values():
        tensor._data[...] = 7
    version = other.scale.version
    assert other.load_state_dict(state) == ([], [])
    assert other.scale.version > version
    assert all((tensor.numpy() == 7).all() for tensor in other.state_dict().values())
    assert list(tree.state_dict("m."))[0] == "m.scale"


def test_load_state_dict_takes_torch_tensors():
    torch = pytest.importorskip("torch")
    leaf = Leaf(3)
    leaf.load_state_dict(
        {"weight": torch.ones(3, requires_grad=True), "bias": torch.zeros(1), "count": torch.tensor(2)}
    )
    assert leaf.weight.tolist() == [1, 1, 1] and leaf.count.item() == 2


def test_load_state_dict_names_all_problems_and_copies_nothing():
    leaf = Leaf(3)
    before = leaf.weight.tolist()
    wrong = {"weight": np.ones(3), "bias": np.ones((1, 2)), "count": np.array(0.5), "other": np.ones(1)}
    with pytest.raises(ValueError) as caught:
        leaf.load_state_dict(wrong)
    for line in (
        "other: expected no such name, got one",
        "bias: expected shape (1,), got (1, 2)",
        "count: expected dtype int64, got float64",
    ):
        assert line in str(caught.value)
    assert leaf.weight.tolist() == before
    with pytest.raises(ValueError, match=r"weight: expected shape \(3,\), got nothing"):
        leaf.load_state_dict({})
    result = leaf.load_state_dict({"weight": [5, 6, 7], "other": 1}, strict=False)
    assert result.missing_keys == ["bias", "count"] and result.unexpected_keys == ["other"]
    assert leaf.weight.tolist() == [5, 6, 7]
    with pytest.raises(TypeError, match="state_dict: expected a mapping"):
        leaf.load_state_dict([1])


def test_dtypes():
    tree = Tree()
    tree.scale._accumulate(np.ones(4, np.float32))
    assert tree.double() is tree
    assert {p.dtype for p in tree.parameters()} == {np.dtype(np.float64)}
    assert tree.scale.grad.dtype == np.float64
    assert tree.first.count.dtype == np.int64 and tree.first.scratch.dtype == np.float64
    assert tree.first.dtype == np.float64
    assert tree.float().scale.dtype == np.float32
    with pytest.raises(TypeError, match="dtype: expected float32 or float64"):
        tree.to(np.int64)


def test_config_and_repr():
    assert Leaf(3, bias=False).config() == {"size": 3, "bias": False}
    assert Leaf.from_config({"size": 4, "bias": True}).weight.shape == (4,)
    assert repr(Leaf(3)) == "Leaf(size=3, bias=True)"
    assert repr(nn.Sequential(Leaf(3), Leaf(1))) == (
        "Sequential(\n  (0): Leaf(size=3, bias=True)\n  (1): Leaf(size=1, bias=True)\n)"
    )


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_have_weights_of_their_own(twin_of):
    tree = nn.Sequential(Leaf(3), Leaf(3))
    tree[1].weight = tree[0].weight
    twin = twin_of(tree)
    assert isinstance(twin[0].weight, Parameter) and twin[0].weight.requires_grad
    assert twin[1].weight is twin[0].weight
    twin[0].weight._data[...] = 9
    assert tree[0].weight.tolist() == [0, 1, 2]


def test_a_deep_copy_keeps_the_gradient():
    p = Parameter(np.ones(2, np.float32))
    p._accumulate(np.ones(2, np.float32))
    twin = copy.deepcopy(p)
    twin.grad._data[...] = 5
    assert p.grad.tolist() == [1, 1]


def test_parameters_are_checked():
    with pytest.raises(TypeError):
        Parameter(np.arange(3))
    assert Parameter(Tensor([1.0]), requires_grad=False).requires_grad is False


def test_threads_may_read_one_model_at_once():
    tree, found = Tree(), []

    def read():
        for _ in range(200):
            found.append(len(tree.state_dict()))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {9} and len(found) == 1600


def test_parts_by_dotted_name():
    net = nn.Sequential({"inner": nn.Sequential(nn.Linear(2, 3), nn.CrossEntropyLoss(np.ones(3)))})
    assert net.get_submodule("") is net and net.get_submodule("inner.0") is net.inner[0]
    assert net.get_parameter("inner.0.bias") is net.inner[0].bias
    assert net.get_buffer("inner.1.weight") is net.inner[1].weight
    for call, message in (
        (lambda: net.get_submodule("inner.2"), "Sequential has no submodule '2'"),
        (lambda: net.get_parameter("inner.0.x"), "Linear has no parameter 'x'"),
        (lambda: net.get_buffer("inner.0.weight"), "Linear has no buffer 'weight'"),
        (lambda: net.get_parameter("outer.x"), "Sequential has no submodule 'outer'"),
    ):
        with pytest.raises(AttributeError, match=message):
            call()


def test_inplace_is_taken_and_changes_nothing(rng):
    x = rng.standard_normal((3, 4)).astype(np.float32)
    before = x.copy()
    for one, other in (
        (nn.ReLU(inplace=True), nn.ReLU()),
        (nn.SiLU(True), nn.SiLU()),
        (nn.ELU(0.5, True), nn.ELU(0.5)),
        (nn.LeakyReLU(0.5, inplace=True), nn.LeakyReLU(0.5)),
        (nn.Dropout(0.5, True).eval(), nn.Identity()),
    ):
        np.testing.assert_array_equal(one(x), other(x))
        np.testing.assert_array_equal(x, before)
        assert type(one).from_config(one.config()).config() == one.config()
    with pytest.raises(TypeError, match="inplace: expected True or False, got 1"):
        nn.ReLU(1)
