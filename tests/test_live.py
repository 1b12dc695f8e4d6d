"""The meter of live bytes counts what is alive: each storage once, until nothing holds it, autograd included."""

import threading

import torch
from live import Live
from torch import nn


def test_what_is_made_is_counted_until_it_is_gone():
    with Live() as live:
        one, other = torch.empty(1000), torch.empty(500, dtype=torch.float64)
        assert live.bytes == 8000
        del one
        assert (live.bytes, live.peak) == (4000, 8000)
        live.forget_peak()
        torch.empty(250)
        assert (live.bytes, live.peak) == (4000, 5000)
        del other
    assert live.bytes == 0


def test_views_and_changes_in_place_take_nothing():
    with Live() as live:
        whole = torch.zeros(6, 100)
        parts, turned = whole.split(2), whole.t()
        whole.add_(1)
        assert live.peak == 2400
        del whole, turned
        assert live.bytes == 2400
        del parts
        assert live.bytes == 0


def test_what_was_there_before_counts_when_it_is_registered():
    given = torch.ones(100)
    with Live() as live:
        seen = given.view(10, 10)
        assert live.bytes == 400
        live.register([given, seen])
        assert live.bytes == 400
        made = given + 1
        assert live.bytes == 800
        del given, seen
        assert live.bytes == 400
        del made


def test_what_autograd_keeps_is_alive_without_a_name():
    weight = nn.Parameter(torch.ones(100))
    with Live() as live:
        live.register([weight])
        loss = (weight.exp() * 2).sum()  # exp keeps what it gave
        assert live.bytes == 400 + 400 + loss.nbytes
        loss.backward()
        del loss
        assert live.bytes == 400 + 400  # and the gradient
        assert weight.grad is not None


def test_a_storage_that_is_emptied_and_filled_again():
    """As FSDP does with what it gathers."""
    resize = torch.UntypedStorage.resize_
    with Live() as live:
        gathered = torch.zeros(100)
        gathered.untyped_storage().resize_(0)
        assert (live.bytes, live.peak) == (0, 400)
        gathered.untyped_storage().resize_(800)
        assert live.bytes == live.peak == 800
    assert torch.UntypedStorage.resize_ is resize


def test_another_thread_may_end_a_tensor():
    with Live() as live:
        held = [torch.zeros(100)]
        ending = threading.Thread(target=held.clear)
        ending.start()
        ending.join()
        assert (live.bytes, live.peak) == (0, 400)


def test_the_parts_of_a_compound_are_counted():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        mesh = init_device_mesh("cpu", (2,))
        with Live() as live:
            own = torch.ones(100)
            compound = DTensor.from_local(own, mesh, [Replicate()])
            doubled = compound * 2
            assert live.bytes >= 800
            del own, compound
            assert live.bytes < 800
            assert isinstance(doubled, DTensor)
            assert doubled.to_local().sum() == 200
    finally:
        torch.distributed.destroy_process_group()
