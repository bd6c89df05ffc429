# From docs/5-scale/data-parallelism.md, which is its source: edit there.  [6dde183b099e]
# %% two-processes-two-models-1
"""Data parallelism: equal replicas of one model, each with a shard of the batch."""

import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def run_ranks(
    function: Callable[[int], T], world_size: int = 2, *, timeout: float = 60.0
) -> list[T]:
    """Call ``function(rank)`` in `world_size` processes, joined by gloo; gather the results.

    The processes are forks, so `function` may be a closure or come from a notebook.
    Where there is a GPU, run no backward pass and no CUDA code before in the calling
    process: neither survives a fork.

    Parameters
    ----------
    function
        What each rank runs; `torch.distributed` is initialised when it starts.
    timeout
        Seconds for the whole call. A rank that waits half as long for another raises.

    Returns
    -------
    list
        The result of each rank, which must be picklable, in the order of the ranks.

    Raises
    ------
    RuntimeError
        When a rank raises or dies; the message holds its traceback.
    ValueError
        On Windows, which cannot fork.
    TimeoutError
        When a rank is still at work after `timeout` seconds.
    """
    context = multiprocessing.get_context("fork")
    deadline = time.monotonic() + timeout
    processes, waiting, results = [], dict[Connection, int](), dict[int, T]()
    with tempfile.TemporaryDirectory() as folder:
        try:
            for rank in range(world_size):
                ours, theirs = context.Pipe()
                group = {
                    "init_method": f"file://{folder}/rendezvous",
                    "rank": rank,
                    "world_size": world_size,
                    "timeout": timedelta(seconds=timeout / 2),
                }
                arguments = (function, group, theirs)
                process = context.Process(target=_run_rank, args=arguments)
                process.start()
                theirs.close()  # the rank has the only copy: if it dies, `ours` ends
                processes.append(process)
                waiting[ours] = rank
            while waiting:
                ready = wait(list(waiting), max(0.0, deadline - time.monotonic()))
                if not ready:
                    late = list(waiting.values())
                    raise TimeoutError(f"ranks {late} did not end in {timeout} s")
                for pipe in set(waiting).intersection(ready):
                    rank = waiting.pop(pipe)
                    try:
                        result, error = pickle.loads(pipe.recv_bytes())
                    except EOFError:
                        result, error = None, "its process died"
                    if error:
                        raise RuntimeError(f"rank {rank} failed: {error}")
                    results[rank] = result
        finally:
            for process in processes:
                process.kill()
                process.join()
    return [results[rank] for rank in range(world_size)]


def _run_rank(
    function: Callable[[int], Any], group: dict[str, Any], pipe: Connection
) -> None:
    torch.set_num_threads(1)  # a pool of OpenMP threads does not survive a fork
    # All ranks are on one machine: its loopback interface works without a network.
    loopback = "lo" if sys.platform == "linux" else "lo0"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    try:
        dist.init_process_group("gloo", **group)
        message = pickle.dumps((function(group["rank"]), None))
    except Exception:
        message = pickle.dumps((None, traceback.format_exc()))
    sys.stdout.flush()
    pipe.send_bytes(message)
    # Slower ranks may still need this one: stay until the parent ends it, or is gone.
    pipe.poll(2 * group["timeout"].total_seconds())


# %% the-ring-1
from collections.abc import Sequence

from jaxtyping import Num
from torch import Tensor


def ring_all_reduce(
    tensor: Num[Tensor, "..."], process_group: dist.ProcessGroup | None = None
) -> int:
    """Sum a contiguous tensor over the ranks, in place; return the bytes sent.

    Where p ranks divide its length, each sends 2 (p − 1) / p times its bytes. That is
    optimal: P. Patarasuk and X. Yuan, "Bandwidth optimal all-reduce algorithms for
    clusters of workstations", 2009.
    """
    chunks = tensor.view(-1).tensor_split(dist.get_world_size(process_group))
    sent = ring_reduce_scatter(chunks, process_group)
    return sent + ring_all_gather(chunks, process_group)


def ring_reduce_scatter(
    chunks: Sequence[Num[Tensor, "_"]], process_group: dist.ProcessGroup | None = None
) -> int:
    """Sum chunk r + 1 (modulo p) over the ranks into rank r's; return the bytes sent.

    The p chunks are changed in place; all but chunk r + 1 end as partial sums.
    """
    rank, p = dist.get_rank(process_group), dist.get_world_size(process_group)
    sent = 0
    for step in range(p - 1):
        outgoing, total = chunks[(rank - step) % p], chunks[(rank - step - 1) % p]
        incoming = torch.empty_like(total)
        sent += _pass_on(outgoing, incoming, process_group)
        total += incoming
    return sent


def ring_all_gather(
    chunks: Sequence[Num[Tensor, "_"]], process_group: dist.ProcessGroup | None = None
) -> int:
    """Copy rank r's chunk r + 1 (modulo p) to all others; return the bytes sent."""
    rank, p = dist.get_rank(process_group), dist.get_world_size(process_group)
    sent = 0
    for step in range(p - 1):
        outgoing, incoming = chunks[(rank - step + 1) % p], chunks[(rank - step) % p]
        sent += _pass_on(outgoing, incoming, process_group)
    return sent


def _pass_on(
    outgoing: Tensor, incoming: Tensor, process_group: dist.ProcessGroup | None
) -> int:
    """Send to the next rank, receive from the one before; return the bytes sent."""
    rank, p = dist.get_rank(process_group), dist.get_world_size(process_group)
    after, before = (rank + 1) % p, (rank - 1) % p
    transfers = [
        dist.P2POp(dist.isend, outgoing, group=process_group, group_peer=after),
        dist.P2POp(dist.irecv, incoming, group=process_group, group_peer=before),
    ]
    for request in dist.batch_isend_irecv(transfers):
        request.wait()
    return outgoing.nbytes


# %% buckets-that-leave-early-1
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import zip_longest

from torch import nn


def make_buckets(
    parameters: Iterable[nn.Parameter], cap_bytes: float
) -> list[list[nn.Parameter]]:
    """Group parameters, last first, into buckets of one dtype and device.

    A bucket has at most `cap_bytes`; a larger parameter has a bucket of its own.
    """
    buckets: list[list[nn.Parameter]] = []
    room, kind = 0.0, None  # of the bucket being filled
    for parameter in reversed(list(parameters)):
        if parameter.nbytes > room or kind != (parameter.dtype, parameter.device):
            buckets.append([])
            room, kind = cap_bytes, (parameter.dtype, parameter.device)
        buckets[-1].append(parameter)
        room -= parameter.nbytes
    return buckets


class DDP(nn.Module):
    """Distributed data parallelism: keep replicas equal by averaging their gradients.

    Construct it on every rank, after moving the module to its device; then train as
    with the bare module. When ``loss.backward()`` returns, every ``.grad`` is the mean
    over the ranks. A rank without a gradient for a parameter counts as zero.

    Parameters
    ----------
    module
        The replica, called through the wrapper and found in ``.module``. Rank 0's
        parameters and buffers overwrite those of the others.
    process_group
        The ranks that hold replicas, all by default; of any backend that reduces on
        their device.
    bucket_cap_mb
        Largest bucket of gradients, in MiB.
    broadcast_buffers
        Whether rank 0's buffers (such as batch norm's running statistics) overwrite the
        others' at the start of each forward pass in training.

    Raises
    ------
    ValueError
        When the ranks have registered different parameters.

    References
    ----------
    S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel
    Training", 2020, arXiv:2006.15704.
    """

    def __init__(
        self,
        module: nn.Module,
        process_group: dist.ProcessGroup | None = None,
        *,
        bucket_cap_mb: float = 25.0,
        broadcast_buffers: bool = True,
    ) -> None:
        super().__init__()
        self.module = module
        self.process_group = process_group
        self.broadcast_buffers = broadcast_buffers
        check_same_parameters(module, process_group)
        broadcast([*module.parameters(), *module.buffers()], process_group)

        trainable = [p for p in module.parameters() if p.requires_grad]
        self.buckets = make_buckets(trainable, bucket_cap_mb * 2**20)
        self._bucket_of: dict[Tensor, int] = {
            p: i for i, bucket in enumerate(self.buckets) for p in bucket
        }
        # During a backward pass: what each bucket waits for; the flat gradients sent.
        self._missing: list[set[Tensor]] = []
        self._sent: list[tuple[Tensor, dist.Work]] = []
        self._synchronize = True
        for parameter in trainable:
            parameter.register_post_accumulate_grad_hook(self._gradient_ready)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self._missing = []  # a backward pass that raised leaves its own behind
        if self.training and self._synchronize and self.broadcast_buffers:
            broadcast(self.module.buffers(), self.process_group)
        return self.module(*args, **kwargs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Only accumulate gradients: the next pass outside averages their sum."""
        before, self._synchronize = self._synchronize, False
        try:
            yield
        finally:
            self._synchronize = before

    def _gradient_ready(self, parameter: Tensor) -> None:
        if not self._synchronize:
            return
        if not self._missing:  # the first gradient of this backward pass
            self._missing = [set(bucket) for bucket in self.buckets]
            self._sent = []
            torch.autograd.Variable._execution_engine.queue_callback(self._finish)
        self._missing[self._bucket_of[parameter]].discard(parameter)
        # Collectives are matched by order: every rank sends bucket 0 first, then 1, …
        for i in range(len(self._sent), len(self.buckets)):
            if self._missing[i]:
                break
            self._send(self.buckets[i])

    def _send(self, bucket: list[nn.Parameter]) -> None:
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        flat /= dist.get_world_size(self.process_group)
        work = dist.all_reduce(flat, group=self.process_group, async_op=True)
        self._sent.append((flat, work))

    def _finish(self) -> None:
        """End the backward pass: send what unused parameters held back, and wait."""
        for bucket in self.buckets[len(self._sent) :]:
            self._send(bucket)
        for bucket, (flat, work) in zip(self.buckets, self._sent, strict=True):
            work.wait()
            means = flat.split([parameter.numel() for parameter in bucket])
            for parameter, mean in zip(bucket, means, strict=True):
                parameter.grad = mean.view_as(parameter)
        self._missing, self._sent = [], []


@torch.no_grad()
def broadcast(
    tensors: Iterable[Tensor], process_group: dist.ProcessGroup | None = None
) -> None:
    """Overwrite tensors, in place, by those of the group's rank 0."""
    for tensor in tensors:
        dist.broadcast(tensor, group=process_group, group_src=0)


def check_same_parameters(
    module: nn.Module, process_group: dist.ProcessGroup | None = None
) -> None:
    """Raise a ValueError, on every rank, unless all registered the same parameters."""
    mine = [
        (name, tuple(parameter.shape), parameter.dtype, parameter.requires_grad)
        for name, parameter in module.named_parameters()
    ]
    registered: list[Any] = [None] * dist.get_world_size(process_group)
    dist.all_gather_object(registered, mine, group=process_group)
    for rank, theirs in enumerate(registered):
        for i, (first, other) in enumerate(zip_longest(registered[0], theirs)):
            if first != other:
                raise ValueError(
                    f"parameter {i} is {first} on rank 0, but {other} on rank {rank}"
                )


# %% a-shard-for-each-rank-1
from torch.utils.data import Sampler


class ShardedSampler(Sampler[int]):
    """One rank's share of the shuffled indices below `length`: as many for each rank.

    The ``length % world_size`` indices that would make the shards unequal are left out,
    others in each epoch. Call :meth:`set_epoch` before each epoch; without it all have
    the same order.
    """

    def __init__(
        self, length: int, world_size: int, rank: int, *, seed: int = 0
    ) -> None:
        self.length, self.world_size, self.rank = length, world_size, rank
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        # The same order on every rank, of which each takes other places.
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        return iter(order[self.rank : len(self) * self.world_size : self.world_size])

    def __len__(self) -> int:
        return self.length // self.world_size


# %% how-it-goes-wrong-1
@torch.no_grad()
def replica_drift(
    module: nn.Module, process_group: dist.ProcessGroup | None = None
) -> float:
    """Largest difference of any rank's weight from rank 0's: 0.0 for true replicas."""
    own = nn.utils.parameters_to_vector(module.parameters())
    first = own.clone()
    broadcast([first], process_group)
    drift = (own - first).abs().max()
    dist.all_reduce(drift, op=dist.ReduceOp.MAX, group=process_group)
    return drift.item()


# %% on-any-number-of-machines-1
from course.data.datasets import digits


def train_digits(
    device: torch.device, *, epochs: int = 10, batch_size: int = 64
) -> tuple[float, float]:
    """Train a network on the digits; return its held-out accuracy and replica drift.

    `batch_size` is the size over all ranks, so that their number hardly matters: it
    rounds the batch to a multiple, and leaves an example or two out of each epoch.
    """
    images, labels = (tensor.to(device) for tensor in digits())
    held_out = 360
    rank, world_size = dist.get_rank(), dist.get_world_size()

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    model = DDP(network.to(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    sampler = ShardedSampler(len(images) - held_out, world_size, rank)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        shard = torch.tensor(list(sampler), device=device)
        for batch in shard.split(batch_size // world_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()

    with torch.no_grad():  # through .module: rank 0 could do this alone
        correct = model.module(images[-held_out:]).argmax(dim=1) == labels[-held_out:]
    return correct.double().mean().item(), replica_drift(model)


def main() -> None:
    """Train on every process that torchrun started; rank 0 reports."""
    cuda = torch.cuda.is_available()
    device = torch.device("cpu")
    if cuda:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    accuracy, drift = train_digits(device)
    if dist.get_rank() == 0:
        ranks = f"{dist.get_world_size()} ranks on {device.type}"
        print(f"{ranks}: accuracy {accuracy:.1%}, drift {drift}")
    dist.destroy_process_group()


if __name__ == "__main__" and "RANK" in os.environ:  # by torchrun, not in a notebook
    main()
