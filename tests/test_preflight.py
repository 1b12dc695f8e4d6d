"""Preflight: who is missing is named, what is slow or late or different is named, and all is well where all is well."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from torch.distributed import HashStore  # pyright: ignore[reportPrivateImportUsage]

from scratchlm.core.errors import CheckFailed, UsageError
from scratchlm.parallel import board, links, preflight, verdict
from scratchlm.parallel.board import Place
from scratchlm.parallel.links import Link
from scratchlm.parallel.verdict import Clock, Found

ON_A_HOST = """
import pathlib, socket, sys, time
host, ahead, sees, real = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "sees", time.time
socket.gethostname = lambda: host
time.time = lambda: real() + ahead
from scratchlm.parallel import preflight
if not sees:
    preflight.SEEN_S, pathlib.Path.exists = 0.1, lambda path: False
sys.exit(preflight.main(sys.argv[4:]))
"""
"""A process on a host with a name, a clock and a sight of files of its own; the mesh is real."""
FACTS = {"host": "n1", "local_size": 1, "trouble": None, "kind": "cpu", "memory": 8e9, "disk": 5e11} | dict.fromkeys(verdict.ALIKE, "1")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return bound.getsockname()[1]


def together(hosts: dict[int, tuple[str, str, str]], size: int, *arguments: str) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of those of ``size`` processes that are there."""
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size), "LOCAL_RANK": "0"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ON_A_HOST, *host, *arguments],
            env=os.environ | told | {"RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, host in hosts.items()
    ]
    said = [process.communicate(timeout=60) for process in started]
    return [(process.returncode, out, err) for process, (out, err) in zip(started, said, strict=True)]


def test_two_processes_under_torchrun_find_all_well(tmp_path: Path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*command, "-m", "scratchlm.parallel.preflight", "--home", str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    first, *rest = ended.stdout.splitlines()
    assert first == "2 processes on 1 host by gloo"
    named = {line.partition("   ")[0].strip() for line in rest}
    assert {"all-reduce of 4 MB", "slowest link inside a host", "least memory free", "least disk free", "torch"} <= named
    assert [line for line in rest if "100 % of the median" in line and "(rank 0) – " in line]
    assert list(tmp_path.iterdir()) == []


def test_a_late_clock_a_slow_link_and_a_host_without_the_folder_are_named(tmp_path: Path):
    hosts = {0: ("n1", "0", "sees"), 1: ("n2", "5", "sees"), 2: ("n3", "0", "blind")}
    ended = together(hosts, 3, "--home", str(tmp_path), "--json", "--slowest", "1.01")
    assert [code for code, _, _ in ended] == [1, 1, 1]
    assert [bool(out) for _, out, _ in ended] == [bool(err) for _, _, err in ended] == [True, False, False]
    found, line = json.loads(ended[0][1]), ended[0][2]
    assert (found["processes"], found["hosts"], found["backend"], found["blind"]) == (3, ["n1", "n2", "n3"], "gloo", ["n3"])
    assert [link["ranks"] for link in found["links"]] == [[0, 1], [0, 2], [1, 2]]
    assert all(each["gb_s"] > 0 for each in [*found["links"], *found["all_reduce"]])
    # The clock is exactly five seconds ahead, and what is not known of it is what it says.
    ahead = found["clocks"]["n2"]
    assert abs(ahead["ahead_s"] - 5) <= ahead["within_s"] < 1
    assert abs(found["clocks"]["n3"]["ahead_s"]) <= found["clocks"]["n3"]["within_s"]
    (slow,) = found["slowest"]
    ends = " – ".join(f"{host} (rank {rank})" for host, rank in zip(slow["hosts"], slow["ranks"], strict=True))
    assert line.count("\n") == 1
    assert line.startswith(f"preflight: {ends} carries ")
    assert "n2: its clock is +" in line
    assert "n3: no sight of what rank 0 writes into --home" in line


def test_who_never_came_is_named_by_rank_and_host():
    (first,) = together({0: ("n1", "0", "sees")}, 3, "--timeout", "0.5", "--hosts", "n1,n2,n3")
    assert first == (1, "", "preflight: n2 (rank 1), n3 (rank 2) never came within 0.5 s; 1 of 3 did. Are they up?\n")


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_first_process_that_stands_still_is_not_waited_for_for_ever(when: str):
    """A board that takes connections and says nothing; later: one whose process was stopped."""
    own = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    program = "import sys; from scratchlm.parallel import board; board.GRACE_S = 0.5; from scratchlm.parallel.preflight import main; "
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1] if when == "at once" else free_port()
        holds = "from torch.distributed import TCPStore; import time; s = TCPStore('127.0.0.1', %d, None, True, wait_for_workers=False); "
        holds += "s.set('preflight/0/roll', '[]'); print('up', flush=True); time.sleep(60)"
        with subprocess.Popen([sys.executable, "-c", holds % (port if when == "later" else 0)], stdout=subprocess.PIPE) as first:
            assert first.stdout is not None
            first.stdout.readline()
            first.send_signal(signal.SIGSTOP)
            ended = subprocess.run(
                [sys.executable, "-c", program + "sys.exit(main(['--timeout', '1', '--device', 'cpu']))"],
                env=os.environ | own | {"MASTER_PORT": str(port)}, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            first.kill()
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert re.fullmatch(r"preflight: rank 1 on \S+: the board does not answer within 1.5 s. Look at the host of rank 0.", line)


def test_without_the_first_process_the_others_say_where_nobody_answers(capsys, monkeypatch: pytest.MonkeyPatch):
    port = free_port()
    told = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(preflight.os, "environ", dict(os.environ))
    assert preflight.main(["--timeout", "0.2"]) == 1
    err = capsys.readouterr().err
    assert f"rank 1 on {socket.gethostname()}: nobody answers at 127.0.0.1:{port} within 0.2 s" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "wrong", [{"RANK": "x"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"MASTER_PORT": "80000"}, {"LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "2"}]
)
def test_variables_that_say_nothing_are_the_callers_mistake(wrong: dict[str, str]):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        board.place_of(wrong, 1.0)


def test_one_process_alone_measures_no_links(capsys, monkeypatch: pytest.MonkeyPatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(preflight.os, "environ", dict(os.environ))
    assert preflight.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["processes"], found["all_reduce"], found["links"], found["clocks"]) == (1, [], [], {})
    assert found["least"]["disk"]["bytes"] > 0


def places(size: int, each: int, patience_s: float = 5.0) -> list[Place]:
    """Processes of one launch, as threads with a board between them."""
    shared = HashStore()
    return [Place(rank, size, f"n{rank // each}", rank % each, each, shared, patience_s) for rank in range(size)]


def in_threads(acts: list[Any]) -> list[Any]:
    """What each act returns or raises, all at once."""
    found: list[Any] = [None] * len(acts)

    def do(at: int) -> None:
        try:
            found[at] = acts[at]()
        except (CheckFailed, RuntimeError) as error:
            found[at] = error

    threads = [threading.Thread(target=do, args=(at,)) for at in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_everybody_gets_the_facts_of_everybody():
    rolls = in_threads([lambda place=place: board.roll_call(place, {"letter": "abc"[place.rank]}) for place in places(3, 2)])
    assert [facts["letter"] for facts in rolls[0]] == ["a", "b", "c"]
    assert [facts["host"] for facts in rolls[0]] == ["n0", "n0", "n1"]
    assert rolls[0] == rolls[1] == rolls[2]


@pytest.mark.parametrize(
    ("absent", "hosts", "words"),
    [
        ((1,), (), "n0 (rank 1) never came within 0.3 s; 5 of 6 did"),
        ((4, 5), (), "ranks 4–5 never came"),
        ((2, 4, 5), ("n0", "n1", "n2"), "n1 (rank 2), n2 (ranks 4–5) never came"),
    ],
)
def test_the_missing_are_told_by_their_neighbours_or_by_the_hosts_that_should_be_there(absent, hosts, words):
    there = [place for place in places(6, 2, 0.3) if place.rank not in absent]
    for error in in_threads([lambda place=place: board.roll_call(place, {}, hosts) for place in there]):
        assert isinstance(error, CheckFailed)
        assert words in str(error)


def test_who_falls_silent_later_is_named_by_the_first_process(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(board, "GRACE_S", 0.3)
    first, _, third = places(3, 1, 0.5)
    for place in (first, third):
        place.say(f"here/{place.rank}", {})
    waited = RuntimeError("[/pytorch/gloo/unbound_buffer.cc:81] Timed out waiting 500ms for recv operation to complete\nframe #0")
    found = in_threads([lambda place=place: board.broken(place, waited, {1: "n1"}) for place in (first, third)])
    told = "n1 (rank 1) fell silent (Timed out waiting 500ms for recv operation to complete). Look what happened there."
    assert (found, capsys.readouterr().err) == ([1, 1], f"preflight: {told}\n")


def test_a_check_that_failed_elsewhere_is_what_the_first_process_tells(capsys):
    first, second = places(2, 1, 0.5)
    for place in (first, second):
        place.say(f"here/{place.rank}", {})
    errors = [RuntimeError("Connection closed by peer"), CheckFailed("rank 1 on n1: 2 ones were summed up to 3.")]
    found = in_threads([lambda p=p, e=e: board.broken(p, e, {}) for p, e in zip((first, second), errors, strict=True)])
    assert (found, capsys.readouterr().err) == ([1, 1], f"preflight: {errors[1]}\n")


def test_what_is_wrong_is_said_before_the_others_are_told_to_end_and_the_silent_are_not_waited_for(capsys, monkeypatch):
    monkeypatch.setattr(board, "GRACE_S", 30.0)
    first, second, _ = places(3, 1, 5.0)
    for rank in range(3):
        first.say(f"here/{rank}", {})
    said: list[str] = []

    def others() -> int:
        second.wait("end")
        said.append(capsys.readouterr().err)
        return board.leave(second)

    began = time.monotonic()
    assert in_threads([lambda: board.end(first, ["one.", "two."], [2]), others]) == [1, 1]
    assert said == ["preflight: one. two.\n"]
    assert time.monotonic() - began < 20


HANGS = """
import os, sys, time
from scratchlm.parallel import board, preflight
board.GRACE_S = 2.0
if os.environ["RANK"] == "1":
    preflight.measured = lambda *given: time.sleep(60)
sys.exit(preflight.main(sys.argv[1:]))
"""
"""A preflight of which one process stands still after the roll call."""


def test_who_stands_still_after_the_roll_call_is_named_before_torchrun_ends_the_first_process(tmp_path: Path):
    (tmp_path / "hangs.py").write_text(HANGS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", str(tmp_path / "hangs.py")]
    given = ["--device", "cpu", "--timeout", "3", "--home", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*command, *given], capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert ended.returncode == 1
    told = [line for line in ended.stderr.splitlines() if line.startswith("preflight: ")]
    assert len(told) == 1
    assert re.search(r"^preflight: \S+ \(rank 1\) fell silent \(.+\)\. Look what happened there\.$", told[0])


def test_where_all_is_well_a_file_says_so_to_those_who_come_later(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(preflight.os, "environ", dict(os.environ))
    passed = tmp_path / "logs" / "preflight-a"
    monkeypatch.setattr(verdict, "differences", lambda roll: ["something"])
    assert preflight.main(["--device", "cpu", "--passed", str(passed)]) == 1
    assert not passed.exists()
    monkeypatch.setattr(verdict, "differences", lambda roll: [])
    assert preflight.main(["--device", "cpu", "--passed", str(passed)]) == 0
    assert passed.exists()
    (tmp_path / "file").touch()
    assert preflight.main(["--device", "cpu", "--passed", str(tmp_path / "file" / "x")]) == 1
    assert "rank 0 cannot write it" in capsys.readouterr().err


def test_a_ring_meets_each_neighbour_once():
    assert [links.ring(range(n)) for n in range(4)] == [[], [], [(0, 1)], [(0, 1), (1, 2), (2, 0)]]


@pytest.mark.parametrize(("hosts", "each", "between"), [(2, 4, 4), (5, 3, 30), (17, 1, 17)])
def test_every_two_hosts_are_tried_and_many_only_around_the_ring(hosts: int, each: int, between: int):
    ranks = {f"n{host}": [host * each + place for place in range(each)] for host in range(hosts)}
    tried = links.pairs(ranks)
    crossing = [(a, b) for a, b in tried if a // each != b // each]
    assert len(crossing) == between
    assert all(a % each == b % each for a, b in crossing)
    assert {rank for pair in tried for rank in pair} == set(range(hosts * each))
    assert len({frozenset(pair) for pair in tried}) == len(tried)


def test_no_process_is_asked_twice_in_a_round():
    tried = links.pairs({f"n{host}": list(range(3 * host, 3 * host + 3)) for host in range(7)})
    found = links.rounds(tried)
    assert sorted(pair for each in found for pair in each) == sorted(tried)
    assert all(len({rank for pair in each for rank in pair}) == 2 * len(each) for each in found)
    assert len(found) < 2 * max(sum(rank in pair for pair in tried) for rank in range(21))


def test_bus_bandwidth_is_what_each_link_of_a_ring_carries():
    # Four processes, 1 GB, one second: each sends 3 quarters of it twice.
    assert links.bus_gb_s(10**9, 1.0, 4) == 1.5
    assert links.bus_gb_s(10**9, 0.5, 2) == 2.0


def link(a: int, b: int, gb_s: float, each: int = 2) -> Link:
    return Link((a, b), (f"n{a // each}", f"n{b // each}"), gb_s, (a % each, b % each))


def test_a_link_is_held_against_its_own_kind():
    inside, between = links.slowest([link(0, 1, 300.0), link(2, 3, 200.0), link(0, 2, 40.0), link(1, 3, 15.0), link(4, 6, 30.0)])
    assert (inside.link.ranks, inside.median_gb_s, inside.share) == ((2, 3), 250.0, 0.8)
    assert (between.link.ranks, between.median_gb_s, between.share) == ((1, 3), 30.0, 0.5)


JOINED = {(0, 1): 200.0, (1, 2): 20.0, (2, 3): 200.0, (3, 0): 20.0}
"""GB/s inside a host whose GPUs are joined two by two."""


def machines(count: int) -> list[Link]:
    return [link(4 * host + a, 4 * host + b, gb_s, 4) for host in range(count) for (a, b), gb_s in JOINED.items()]


def test_machines_that_are_wired_alike_are_well_however_they_are_wired():
    limits = {"skew_s": 1.0, "least_share": 0.5}
    assert verdict.complaints(Found({}, machines(3), {}, []), **limits) == []
    broken = [link(4, 5, 90.0, 4) if each.ranks == (4, 5) else each for each in machines(3)]
    (told,) = verdict.complaints(Found({}, broken, {}, []), **limits)
    assert told.startswith("n1 (rank 4) – n1 (rank 5) carries 90 GB/s, 45 % of the median inside a host (200 GB/s)")


def test_on_a_single_host_a_slow_link_is_a_doubt_and_no_finding(capsys):
    found = Found({}, machines(1), {}, [])
    assert verdict.complaints(found, skew_s=1.0, least_share=0.5) == []
    (doubt,) = verdict.doubts(found, least_share=0.5)
    assert "carries 20 GB/s, 18 % of the median inside a host" in doubt
    assert doubt.endswith("Where GPUs are joined two by two, or by sockets, that is as it should be.")
    verdict.show(verdict.summed_up([FACTS | {"disk": 1.0}] * 4, found, [], least_share=0.5))
    assert doubt in capsys.readouterr().out
    assert verdict.doubts(Found({}, machines(2), {}, []), least_share=0.5) == []


def test_limits_are_kept_to_the_digit():
    found = Found({}, [link(0, 2, 40.0), link(1, 3, 15.0), link(4, 6, 30.0)], {"n1": Clock(-1.2, 0.3), "n2": Clock(2.0, 0.3)}, [])
    assert verdict.complaints(found, skew_s=1.0, least_share=0.5) == [
        "n2: its clock is +2.0000 s ± 0.3000 s from the first host's, more than 1 s. Set it by NTP."
    ]
    slow, _ = verdict.complaints(found, skew_s=1.0, least_share=0.51)
    assert slow.startswith("n0 (rank 1) – n1 (rank 3) carries 15 GB/s, 50 % of the median between hosts (30 GB/s): less than 51 %.")


def test_what_differs_is_told_with_who_has_which():
    roll = [FACTS, FACTS | {"host": "n2", "torch": "2.12.0"}, FACTS | {"host": "n2"}, FACTS | {"host": "n3", "nccl": None}]
    assert verdict.differences(roll) == [
        "torch is not the same everywhere: 1 on n1 (rank 0), n2 (rank 2), n3 (rank 3); 2.12.0 on n2 (rank 1). Make it so.",
        "nccl is not the same everywhere: 1 on n1 (rank 0), n2 (ranks 1–2); none on n3 (rank 3). Make it so.",
    ]
    assert verdict.differences([FACTS, FACTS | {"host": "n2"}]) == []
    assert verdict.differences([FACTS, FACTS | {"trouble": "no GPU 3", "torch": "2.12.0"}]) == ["no GPU 3"]


def test_where_versions_differ_nothing_is_measured(capsys, monkeypatch: pytest.MonkeyPatch):
    first, second = places(2, 1)
    options = preflight._parser().parse_args([])
    facts = preflight.facts
    monkeypatch.setattr(preflight, "facts", lambda place, options: facts(place, options) | {"torch": f"2.{place.rank}"})
    assert in_threads([lambda place=place: preflight.checked(place, options) for place in (first, second)]) == [1, 1]
    out, err = capsys.readouterr()
    assert err == "preflight: torch is not the same everywhere: 2.0 on n0 (rank 0); 2.1 on n1 (rank 1). Make it so.\n"
    assert [line.split() for line in out.splitlines() if line.startswith("torch")] == [["torch", "2.0", "|", "2.1"]]


def test_a_gpu_that_is_not_there_is_said_and_not_waited_for():
    (place,) = places(1, 1)
    options = preflight._parser().parse_args(["--device", "cuda"])
    beyond = Place(9, 16, "n1", 999, 1000, place.board, 1.0)
    told = preflight.facts(beyond, options)["trouble"]
    assert told.startswith("rank 9 on n1: it takes GPU 999, and ")


@pytest.mark.parametrize(("numbers", "told"), [([3], "3"), ([0, 1, 2], "0–2"), ([0, 1, 4, 6, 7], "0–1, 4, 6–7")])
def test_ranks_are_told_in_stretches(numbers: list[int], told: str):
    assert board.stretches(numbers) == told


@pytest.mark.parametrize(("size_bytes", "told"), [(0, "0 bytes"), (250_000, "250 kB"), (1.5e9, "1.5 GB"), (2.25e12, "2.25 TB")])
def test_sizes_have_three_digits(size_bytes: float, told: str):
    assert verdict.size(size_bytes) == told


@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1", "soon"])
def test_a_limit_is_a_positive_number(text: str):
    with pytest.raises(ValueError):
        preflight.positive(text)
