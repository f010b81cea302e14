"""Sequential, ModuleList and ModuleDict."""

from __future__ import annotations

from collections import OrderedDict

import pytest

from fastseq import nn
from fastseq.nn.module import Module


class Add(Module):
    def __init__(self, number=1):
        self.number = number

    def forward(self, x):
        return x + self.number


class Masked(Module):
    def forward(self, x, lengths=None):
        return (x, "state") if lengths is None else (x + lengths, "state")


def test_sequential_passes_lengths_and_drops_states():
    net = nn.Sequential(Add(1), Masked(), nn.Sequential(Masked()), Add(2))
    assert net(0) == 3
    assert net(0, lengths=10) == 23
    assert net.uses_lengths
    assert nn.Sequential()(5) == 5


def test_sequential_takes_names():
    net = nn.Sequential(OrderedDict(one=Add(1), two=Add(2)))
    assert [name for name, _ in net.named_children()] == ["one", "two"]
    assert net.two.number == 2 and net[1] is net.two
    assert list(net[:1].named_children())[0][0] == "one"


def test_list_methods():
    for kind in (nn.Sequential, lambda *layers: nn.ModuleList(layers)):
        layers = [Add(i) for i in range(4)]
        net = kind(*layers)
        assert len(net) == 4 and list(net) == layers and layers[2] in net
        assert net[-1] is layers[3]
        assert type(net[1:3]) is type(net) and list(net[1:3]) == layers[1:3]
        assert [name for name, _ in net[1:3].named_children()] == ["0", "1"]
        net[1] = new = Add(10)
        assert list(net) == [layers[0], new, *layers[2:]]
        del net[0]
        assert [name for name, _ in net.named_children()] == ["0", "1", "2"]
        net.append(layers[0]).insert(0, layers[1])
        net.extend([Add(7)])
        assert [layer.number for layer in net] == [1, 10, 2, 3, 0, 7]
        with pytest.raises(IndexError, match="index: expected -6 <= index < 6, got 6"):
            net[6]
        with pytest.raises(TypeError, match="index: expected an integer"):
            net["0"]
        for wrong in (lambda net=net: net.append(3), lambda net=net: net.__setitem__(0, 3)):
            with pytest.raises(TypeError, match="module: expected a Module, got 3"):
                wrong()
        with pytest.raises(TypeError, match="module: expected a Module, got 3"):
            net.insert(0, 3)
        assert len(net) == 6


def test_sequential_checks_its_layers():
    with pytest.raises(TypeError, match=r"layers\[1\]: expected a Module, got type"):
        nn.Sequential(Add(), int)
    with pytest.raises(TypeError, match=r"layers\['a'\]: expected a Module"):
        nn.Sequential({"a": 1})


def test_module_dict():
    modules = nn.ModuleDict({"a": Add(1)})
    modules["b"] = Add(2)
    modules.update([("c", Add(3))])
    assert list(modules) == list(modules.keys()) == ["a", "b", "c"]
    assert [m.number for m in modules.values()] == [1, 2, 3]
    assert dict(modules.items())["b"].number == 2
    del modules["a"]
    assert "a" not in modules and len(modules) == 2
    with pytest.raises(KeyError):
        modules["a"]
    with pytest.raises(TypeError, match="module: expected a Module"):
        modules["d"] = 4


def test_containers_add_up_and_shrink():
    for kind in (nn.Sequential, lambda *layers: nn.ModuleList(layers)):
        layers = [Add(i) for i in range(5)]
        net = kind(*layers[:2])
        both = net + kind(*layers[2:4])
        assert type(both) is type(net) and list(both) == layers[:4] and len(net) == 2
        net += layers[2:]
        assert list(net) == layers and [name for name, _ in net.named_children()] == list("01234")
        assert net.pop() is layers[4] and net.pop(0) is layers[0]
        del net[1:]
        assert list(net) == [layers[1]]
        with pytest.raises(IndexError):
            net.pop(1)
    named = nn.ModuleDict({"a": Add(1), "b": Add(2)})
    assert named.pop("a").number == 1 and list(named) == ["b"]
    named.clear()
    assert len(named) == 0
    with pytest.raises(KeyError):
        named.pop("b")
