"""Weights, gradients and optimizer states cut among processes that see other rows: torch's ``fully_shard``, and plain replicas.

Rajbhandari et al. 2019, arXiv:1910.02054 (ZeRO); Zhao et al. 2023, arXiv:2304.11277 (FSDP). Gradients are SUMS here: the loop has divided
by the weight of all rows already.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from scratchlm.parallel.layout import WEIGHTS
from scratchlm.parallel.world import World

Announce = Callable[[bool], None]
"""Called before each micro-batch with whether it is the step's last: till then gradients need not be complete."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def cut_(root: nn.Module, blocks: Iterable[nn.Module], banks: Iterable[nn.Module], world: World) -> Announce:
    """Cut the parameters of ``root`` among processes, those of each block together; ``banks`` of experts are not cut along ``expert``."""
    from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard

    # What a module returns may be a view, which torch warns of where somebody would change it in place; nobody does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    layout = world.layout
    as_they_are = layout.gathered == layout.reduced == "float32"
    dtypes = {} if as_they_are else {"param_dtype": DTYPES[layout.gathered], "reduce_dtype": DTYPES[layout.reduced]}
    policy = MixedPrecisionPolicy(cast_forward_inputs=False, **dtypes)
    settings: dict[str, Any] = {"mp_policy": policy, "offload_policy": CPUOffloadPolicy() if layout.offload else OffloadPolicy()}
    # In a pipeline torch keeps what was gathered till the step's end; what it forgot on the way forth, weights' gradients would miss.
    forgets = layout.zero == 3 and world.sizes["pipeline"] == 1
    apart: set[nn.Parameter] = set()
    for bank in banks if world.sizes["expert"] > 1 else ():
        if world.size("replicate", "shard", "context") > 1:
            fully_shard(bank, mesh=world.weights_mesh("shard", "context"), reshard_after_forward=forgets, **settings)
        else:
            apart |= set(bank.parameters())
    mesh = world.weights_mesh(*WEIGHTS)
    for block in blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=forgets, ignored_params=apart, **settings)
    fully_shard(root, mesh=mesh, reshard_after_forward=False, ignored_params=apart, **settings)
    units = [module for module in root.modules() if isinstance(module, FSDPModule)]
    for unit in units:
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)

    def announce(last: bool) -> None:
        for unit in units:
            unit.set_is_last_backward(last)
            unit.set_reshard_after_backward(last or layout.zero == 3, recurse=False)
            unit.set_requires_gradient_sync(last or layout.zero > 1, recurse=False)
            unit.set_requires_all_reduce(last, recurse=False)  # after the line above, which sets it, too

    return announce


def copied(root: nn.Module, world: World) -> tuple[nn.Module, Announce]:
    """``root`` as torch's DistributedDataParallel, whose gradients are sums over the replicas once a step."""
    from torch.nn.parallel import DistributedDataParallel

    group = world.group("replicate")
    wrapped = DistributedDataParallel(root, process_group=group, gradient_as_bucket_view=True)
    wrapped.register_comm_hook((group, DTYPES[world.layout.reduced]), summed)

    def announce(last: bool) -> None:
        wrapped.require_backward_grad_sync = last

    return wrapped, announce


def summed(among: tuple[dist.ProcessGroup, torch.dtype], bucket: dist.GradBucket):  # pyright: ignore[reportPrivateImportUsage]
    """What all replicas have in a bucket, added up in a dtype: a future, of another class than torch says it should be."""
    (group, dtype), buffer = among, bucket.buffer()
    sent = buffer if dtype == torch.float32 else buffer.to(dtype)
    done = dist.all_reduce(sent, group=group, async_op=True)
    assert done is not None
    return done.get_future().then(lambda _done: buffer if sent is buffer else buffer.copy_(sent))
