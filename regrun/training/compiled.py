"""Steps that are compiled: traced once, and fused into a few kernels by torch's Inductor.

A step of a small stack is some hundred operations, each of which costs Python and torch more than
its arithmetic; one of a large stack reads and writes every parameter a dozen times. Both ends where
all that acts on a parameter is one loop. The loops are called with the tensors that the step reads
and writes, which stay where they are, so nothing has to be looked at before.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing, make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from regrun.errors import PluginError
from regrun.memory import is_shortage
from regrun.stack.noise import DrawnNoise, Noise
from regrun.stack.trial import UNTRANSFORMABLE
from regrun.training.differences import copy, largest_difference, nudge

FEW = 16
"""Columns or terms, such as the examples of a small batch, for which a product of matrices is a
loop that computes them side by side. So gradients of weights are used where they are computed, and
never reach the memory; and weights are read once, where libraries are slow with narrow matrices."""

LONG = 64
"""Terms from which on such a loop pays for its sums."""

FAILURES = (*UNTRANSFORMABLE, ImportError, OSError, PluginError)
"""What tracing and compiling raise where they cannot go on. If a step itself is to blame, it says
so once more when it is taken as it is."""

COMPILER_FAILED = "C++ compile error"
"""What Inductor says of a compiler, whose lack of memory is none of the stack's."""

SECONDS_SAVED = 60
"""What compiling has to save at least before `auto` compiles: several times what it takes."""

SAVED = {"cpu": (3e-4, 4e-10), "cuda": (1e-4, 2e-11)}
"""Kind of device → seconds that compiling saves of each step, and of each step and entry of the
parameters: what is not arithmetic, and passes over the memory. Measured for Adam and batches of 10;
on a GPU with operations written by hand, against the same in a CUDA graph."""

REORDERS_WRONGLY = torch.__version__ < "2.14"
"""Whether Inductor may be one that, to save memory, moves the update of a weight before its last
use, as that of PyTorch 2.10 does."""

CHECKS = 2
"""Steps of a kind that are also taken as they are. In the first alone, numbers of Python that the
trace has frozen would not show."""

Mode = Literal["auto", "never", "always"]
Work = Callable[[], Tensor]


def pays(mode: Mode, entries: int, steps: int, device: torch.device) -> bool:
    """Whether steps are compiled.

    The answer depends on the config, the stack and the machine, never on anything measured, since
    the last bits of all results depend on it.

    Args:
        mode: `training.compile`.
        entries: Of all parameters of the stack.
        steps: That are to be taken with it.
        device: Where they are taken.
    """
    worth = is_worth(mode, entries, steps, device)
    return worth and (mode == "always" or has_compiler(device))


def is_worth(mode: Mode, entries: int, steps: int, device: torch.device) -> bool:
    """The same where a compiler is there."""
    if mode != "auto":
        return mode == "always"
    a_step, an_entry = SAVED.get(device.type, (0.0, 0.0))
    return steps * (a_step + entries * an_entry) >= SECONDS_SAVED


def has_compiler(device: torch.device) -> bool:
    """Whether Inductor finds what it compiles with here: a C++ compiler, and Triton for a GPU."""
    from torch._inductor import config
    from torch.utils._triton import has_triton

    cxx = config.cpp.cxx
    names = [name for name in (cxx if isinstance(cxx, tuple | list) else [cxx]) if name]
    found = any(shutil.which(name) for name in (*names, "g++", "clang++"))
    return found and (device.type == "cpu" or has_triton())


def compile_notes(mode: Mode, entries: int, steps: int, device: torch.device) -> list[str]:
    """What is to be said of a run before it is trained; see `pays`."""
    if not pays(mode, entries, steps, device):
        return []
    if not has_compiler(device):
        return ["no compiler is found here, so steps are taken as they are (training.compile)"]
    return ["steps are compiled, which takes some seconds at first (training.compile)"]


class Compiler:
    """Makes the work of each kind of step: compiled, or as it is where that is not possible.

    A compiled step is compared with the same step taken as it is the first time. `refusal` says why
    steps are no longer compiled.

    noise: what the steps draw from. tensors: all that a step changes, but for the noise. traceable:
    inside of it a step consists of operations alone. agreement: the largest part of a step by which
    a compiled one may differ.
    """

    def __init__(
        self,
        noise: Noise,
        tensors: Callable[[], Sequence[Tensor]],
        traceable: Callable[[], AbstractContextManager[None]],
        agreement: float,
    ) -> None:
        self.on = False
        self.refusal = ""
        self._noise, self._tensors, self._traceable = noise, tensors, traceable
        self._agreement = agreement
        self._works: dict[Hashable, Work] = {}

    def __call__(self, kind: Hashable, take: Callable[[Noise], Tensor]) -> Work:
        """The work of a kind of step. take: takes one, and draws from the given noise."""
        if kind not in self._works:
            self._works[kind] = self._made(take)
        return self._works[kind]

    def forget(self) -> None:
        """Drop all works, since the tensors are others from now on."""
        self._works.clear()

    def _made(self, take: Callable[[Noise], Tensor]) -> Work:
        def as_it_is() -> Tensor:
            return take(self._noise)

        if not self.on:
            return as_it_is
        return CompiledStep(
            take, self._noise, self._tensors, self._traceable, self._agreement, self._refuse
        )

    def _refuse(self, why: str) -> None:
        self.on = False
        self.refusal = f"steps are taken operation by operation, not compiled: {why}"
        self.forget()


class CompiledStep:
    """A step of one kind; see `Compiler`."""

    def __init__(
        self,
        take: Callable[[Noise], Tensor],
        noise: Noise,
        tensors: Callable[[], Sequence[Tensor]],
        traceable: Callable[[], AbstractContextManager[None]],
        agreement: float,
        refuse: Callable[[str], None],
    ) -> None:
        self._take, self._tensors, self._refuse = take, tensors, refuse
        self._traceable, self._agreement = traceable, agreement
        self._noise = DrawnNoise(noise)
        self._checks = CHECKS
        self._inputs: list[Tensor] = []
        self._compiled: Callable[[list[Tensor]], Sequence[Tensor]] | None = None

    def __call__(self) -> Tensor:
        """Take the step; the next one overwrites what this returns."""
        self._noise.draw_all()
        if self._checks or self._compiled is None:
            losses = self._check()
        else:
            losses = self._compiled([*self._inputs])[0]
        self._noise.end_step()
        return losses

    def _check(self) -> Tensor:
        """Take the step in both ways, and compare what each of them changes.

        It is traced after it was taken, when all that is made in the first step is there.
        """
        self._checks -= 1
        tensors = self._tensors()
        before = [tensor.clone() for tensor in tensors]
        expected = self._as_it_is(tensors)
        try:
            found = self._compiled or self._compile()
        except FAILURES as error:
            if is_shortage(error) and COMPILER_FAILED not in str(error):
                raise
            self._refuse(_first_line(error))
            return expected[-1]
        copy(before, tensors)
        nudge(tensors)
        nudged = self._as_it_is(tensors)
        copy(before, tensors)
        losses = found([*self._inputs])[0]
        start = [*before, torch.zeros_like(losses)]
        difference = largest_difference([*tensors, losses], expected, start, nudged)
        if difference <= self._agreement:
            return losses
        *changed, losses = expected
        copy(changed, tensors)
        self._refuse(f"a compiled step differs by {difference:.1%} of what a step changes")
        return losses

    def _compile(self) -> Callable[[list[Tensor]], Sequence[Tensor]]:
        with self._traceable():
            graph, self._inputs = lifted(*_traced(lambda: self._take(self._noise)))
        self._noise.next_step()
        self._compiled = compiled(graph, self._inputs)
        return self._compiled

    def _as_it_is(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors after a step, and its losses."""
        losses = self._take(self._noise)
        self._noise.next_step()
        return [each.clone() for each in (*tensors, losses)]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)


class _Shapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes nothing but shapes, and changes no tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._mode = FakeTensorMode()
        self._real: dict[int, tuple[Tensor, Tensor]] = {}
        """Identity of a fake tensor → itself, and what it stands for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # FakeTensorMode itself would add to tensors that are not fake.
        fake, named = tree_map_only(Tensor, self._fake, (args, kwargs or {}))
        with self._mode:
            result = func(*fake, **named)
        if not func._schema.is_mutable or not isinstance(result, Tensor):
            return result
        # `x += y` binds x anew, to what this returns.
        written = [each.name for each in func._schema.arguments if each.is_write]
        given = {each.name: x for each, x in zip(func._schema.arguments, args, strict=False)}
        return (given | (kwargs or {}))[written[0]]

    def _fake(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, FakeTensor):
            return tensor
        with disable_proxy_modes_tracing():
            fake: Tensor = self._mode.from_tensor(tensor)
        self._real[id(fake)] = fake, tensor
        return fake

    def real(self, fake: Tensor) -> Tensor:
        """What a tensor stands for that was there before the work."""
        return self._real[id(fake)][1]


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """Batch norm as an operation of which it is known that it changes the statistics.

    That of `aten.native_batch_norm` is not, so that the statistics which sharpness-aware
    minimisation puts back would be lost.
    """
    aten = torch.ops.aten
    if mean is None or var is None:
        return aten._native_batch_norm_legit.no_stats(x, weight, bias, training, momentum, eps)
    return aten._native_batch_norm_legit(x, weight, bias, mean, var, training, momentum, eps)


def _traced(work: Work) -> tuple[fx.GraphModule, dict[str, Tensor]]:
    """The operations of a work, without doing it, and the tensors that are attributes of it."""
    from torch._decomp import get_decompositions

    aten = torch.ops.aten
    table: dict[Any, Callable[..., Any]] = dict(get_decompositions([aten.cudnn_batch_norm]))
    table[aten.native_batch_norm.default] = _batch_norm
    with _Shapes() as shapes:
        graph = make_fx(work, decomposition_table=table)()
    names = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    return graph, {name: shapes.real(getattr(graph, name)).detach() for name in sorted(names)}


def lifted(
    graph: fx.GraphModule, tensors: Mapping[str, Tensor]
) -> tuple[fx.GraphModule, list[Tensor]]:
    """Make a graph's attributes its inputs: one for each memory, however many are views of it."""
    constants: dict[str, list[fx.Node]] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            constants.setdefault(str(node.target), []).append(node)
    memories: dict[Hashable, list[str]] = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        memories.setdefault((place, tensor.dtype) if place else name, []).append(name)
    inputs = [_covering([tensors[name] for name in names]) for names in memories.values()]
    with graph.graph.inserting_before(next(iter(graph.graph.nodes))):
        given = [graph.graph.placeholder(f"memory_{number}") for number in range(len(inputs))]
    for memory, whole, names in zip(given, inputs, memories.values(), strict=True):
        for name in names:
            for node in constants[name]:
                with graph.graph.inserting_before(node):
                    node.replace_all_uses_with(_view(graph.graph, memory, whole, tensors[name]))
                graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    return graph, inputs


def _covering(views: Sequence[Tensor]) -> Tensor:
    """A tensor of all the memory that these are views of: one of them, if one is."""
    storage = views[0].untyped_storage()
    for view in sorted(views, key=lambda each: -each.dim()):
        if view.is_contiguous() and view.numel() * view.element_size() == storage.nbytes():
            return view
    length = storage.nbytes() // views[0].element_size()
    return views[0].new_empty(0).set_(storage, 0, (length,), (1,))


def _view(graph: fx.Graph, given: fx.Node, whole: Tensor, tensor: Tensor) -> fx.Node:
    aten = torch.ops.aten
    if tensor.shape == whole.shape and tensor.stride() == whole.stride():
        return given
    if tensor.numel() == whole.numel() and tensor.is_contiguous():
        return graph.call_function(aten.view.default, (given, list(tensor.shape)))
    place = list(tensor.shape), list(tensor.stride()), tensor.storage_offset()
    return graph.call_function(aten.as_strided.default, (given, *place))


def compiled(
    graph: fx.GraphModule, inputs: Sequence[Tensor]
) -> Callable[[list[Tensor]], Sequence[Tensor]]:
    """Compile a graph that returns one tensor. The function empties the list that it gets."""
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.decomposition import select_decomp_table

    mode = FakeTensorMode()
    with _quiet(), mode, torch.no_grad(), tracing(TracingContext(mode)):
        fakes = [mode.from_tensor(tensor) for tensor in inputs]
        functional = torch.func.functionalize(graph, remove="mutations")
        pure = make_fx(functional, decomposition_table=select_decomp_table())(*fakes)
        on_cpu = all(tensor.device.type == "cpu" for tensor in inputs)
        settings: dict[str, Any] = {
            "size_asserts": False,
            "compile_threads": 1,
            "cpp.enable_floating_point_contract_flag": "fast",
        }
        if REORDERS_WRONGLY:
            settings["reorder_for_peak_memory"] = False
        if Rewriting(pure).rewrite(on_cpu=on_cpu):
            # Else the sums would be stored, for each of their uses to read them again.
            settings |= {"realize_reads_threshold": 100, "realize_opcount_threshold": 200}
        output = next(node for node in pure.graph.nodes if node.op == "output")
        output.args = ((output.args[0],),)
        pure.recompile()
        with config.patch(settings):
            return compile_fx_inner(pure, fakes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch says of compilers and devices that are not there off the terminal."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class Rewriting:
    """Changes a graph of pure operations such that Inductor makes of it what is fastest here.

    It decides what is stored by how often that is read, and in which layout by the first reader. So
    numbers of the members, which are few and costly, would be computed for each entry of a
    parameter again, and batches stored once in each layout.
    """

    def __init__(self, pure: fx.GraphModule) -> None:
        self._graph = pure.graph
        self._stored: dict[fx.Node, fx.Node] = {}

    def rewrite(self, *, on_cpu: bool) -> bool:
        """Returns whether sums are computed where they are used."""
        self._store_numbers()
        products = [node for node in self._graph.nodes if node.target in _PRODUCTS and on_cpu]
        summed = [self._rewrite_product(node) for node in products]
        self._graph.eliminate_dead_code()
        self._graph.lint()
        return any(summed)

    def _store_numbers(self) -> None:
        """Store what is written back in any case, where it is far smaller than its readers."""
        for node in list(self._graph.nodes):
            if node.target is torch.ops.aten.copy_.default and node.args[0].op == "placeholder":
                value = node.args[1]
                if value.op != "call_function":
                    continue
                readers = [_meta(user) for user in value.users if user is not node]
                if any(_size(reader) > 4 * _size(_meta(value)) for reader in readers):
                    self._store(value)

    def _rewrite_product(self, node: fx.Node) -> bool:
        """Rewrite a product of matrices, (K, M, S) · (K, S, N) → (K, M, N)."""
        aten = torch.ops.aten
        if node.kwargs:
            return False
        *bias, left, right = [each for each in node.args if isinstance(each, fx.Node)]
        if len(bias) != (node.target is aten.baddbmm.default):
            return False
        (_, rows, terms), columns = _meta(left).shape, _meta(right).shape[2]
        for operand in (left, right):
            self._store(_source(operand))
        if _meta(node).dtype in (torch.float32, torch.float64):
            if not bias and terms <= FEW and rows * columns >= terms * (rows + columns):
                self._sum_up(node, left, right, terms)
                return True
            along = _meta(left).stride()[2] == 1 == _meta(right).stride()[1]
            if columns <= FEW and terms >= LONG and along:
                self._sum_along(node, left, right, columns, bias)
                return False
        if columns < rows:
            # Narrow results are fastest as rows, with the batch as the left operand.
            product = self._new(
                node, aten.bmm.default, self._turned(node, right), self._turned(node, left)
            )
            product = self._turned(node, product)
            if bias:
                product = self._new(node, aten.add.Tensor, product, bias[0])
            self._replace(node, product)
        return False

    def _sum_up(self, node: fx.Node, left: fx.Node, right: fx.Node, terms: int) -> None:
        """As entrywise operations, which are fused with what reads the product."""
        aten = torch.ops.aten
        total: fx.Node | None = None
        for term in range(terms):
            column = self._new(node, aten.slice.Tensor, left, 2, term, term + 1)
            row = self._new(node, aten.slice.Tensor, right, 1, term, term + 1)
            product = self._new(node, aten.mul.Tensor, column, row)
            total = product if total is None else self._new(node, aten.add.Tensor, total, product)
        assert total is not None
        self._replace(node, total)

    def _sum_along(
        self, node: fx.Node, left: fx.Node, right: fx.Node, columns: int, bias: Sequence[fx.Node]
    ) -> None:
        """As a sum for each column, which are fused, so that they read the rows once."""
        aten = torch.ops.aten
        sums = []
        for column in range(columns):
            one = self._new(node, aten.slice.Tensor, right, 2, column, column + 1)
            product = self._new(node, aten.mul.Tensor, left, self._turned(node, one))
            sums.append(self._new(node, aten.sum.dim_IntList, product, [2], True))
        with self._graph.inserting_before(node):
            whole = self._graph.call_function(aten.cat.default, (sums, 2))
        whole.meta["val"] = aten.cat.default([_meta(each) for each in sums], 2)
        for each in bias:
            whole = self._new(node, aten.add.Tensor, whole, each)
        self._replace(node, whole)

    def _turned(self, before: fx.Node, matrices: fx.Node) -> fx.Node:
        return self._new(before, torch.ops.aten.permute.default, matrices, [0, 2, 1])

    def _store(self, node: fx.Node) -> None:
        """Let all that reads this node read it from memory."""
        value = _meta(node)
        if node.op != "call_function" or node in self._stored.values():
            return
        if node.target in _PRODUCTS:
            return
        if not value.is_contiguous():
            return
        place = list(value.shape), list(value.stride()), 0
        stored = self._new(node.next, torch.ops.aten.as_strided.default, node, *place)
        node.replace_all_uses_with(stored, delete_user_cb=lambda user: user is not stored)
        self._stored[node] = stored

    def _new(self, before: fx.Node, operation: Any, *args: Any) -> fx.Node:
        with self._graph.inserting_before(before):
            node = self._graph.call_function(operation, args)
        given = [_meta(each) if isinstance(each, fx.Node) else each for each in args]
        node.meta["val"] = operation(*given)
        return node

    def _replace(self, node: fx.Node, other: fx.Node) -> None:
        node.replace_all_uses_with(other)
        self._graph.erase_node(node)


def _meta(node: fx.Node) -> Tensor:
    value = node.meta["val"]
    assert isinstance(value, Tensor)
    return value


def _size(tensor: Tensor) -> int:
    return tensor.numel()


_PRODUCTS = (torch.ops.aten.bmm.default, torch.ops.aten.baddbmm.default)

_VIEWS = (
    torch.ops.aten.view.default,
    torch.ops.aten.permute.default,
    torch.ops.aten.transpose.int,
    torch.ops.aten.unsqueeze.default,
    torch.ops.aten.squeeze.dim,
    torch.ops.aten.alias.default,
    torch.ops.aten.detach.default,
)


def _source(node: fx.Node) -> fx.Node:
    """What a node is a view of."""
    while node.target in _VIEWS and isinstance(node.args[0], fx.Node):
        node = node.args[0]
    return node
