"""The same units as tasks of a Ray cluster that somebody runs already.

A task is a supervisor of one local worker, so ceilings, time limits and quarantine are those of ``local.py``; Ray chooses the
machine and repeats a task whose machine or process died. Only a job's address, its outcome and its events travel, as JSON.
All inputs and outputs must lie where every machine reaches them: a shared folder or an object store.
"""

import importlib.util
import json
import os
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import scratchlm
from scratchlm.core.errors import DataError, ScratchError, UsageError
from scratchlm.units import local
from scratchlm.units.cases import FINAL
from scratchlm.units.engine import RETRIES, Engine, Event
from scratchlm.units.unit import Done, Job

WAITING = 2
"""Tasks under way for each processor of the cluster: one at work, one that waits; a million at once would burden the head."""
LOOK_SECONDS = 1.0


def run(jobs: Sequence[Job], engine: Engine, event: Event) -> Generator[Done, None, None]:
    """Each unit as it is finished; an error of the tree in ``core/errors.py`` when one cannot be."""
    ray = _import_ray()
    ours = not ray.is_initialized()
    if ours:
        _join(ray, jobs, engine)
    try:
        _check_memory(ray, engine)
        yield from _hand_out(ray, jobs, engine, event)
    finally:
        if ours:
            ray.shutdown()  # leaves the cluster; it goes on


def supervise(job: str, engine: str) -> str:
    """What a task does on its machine."""
    told: list[tuple[str, dict[str, Any]]] = []
    settings = Engine.model_validate_json(engine).model_copy(update={"workers": 1})
    try:
        (done,) = local.run([Job.unpack(job)], settings, lambda kind, /, **facts: told.append((kind, facts)))
    except ScratchError as error:
        return json.dumps({"events": told, "fault": type(error).__name__, "reason": str(error)})
    return json.dumps({"events": told, "done": asdict(done)})


def _hand_out(ray: Any, jobs: Sequence[Job], engine: Engine, event: Event) -> Generator[Done, None, None]:
    task = ray.remote(num_cpus=1, memory=engine.memory_bytes, max_retries=RETRIES)(supervise)
    most = max(1, int(WAITING * ray.cluster_resources().get("CPU", 1)))
    waiting, under_way = list(reversed(jobs)), {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < most:
                job = waiting.pop()
                under_way[task.remote(job.pack(), engine.model_dump_json())] = job
            ready, _ = ray.wait(list(under_way), num_returns=1, timeout=LOOK_SECONDS)
            for reference in ready:
                yield _outcome(ray, reference, under_way.pop(reference), event)
    finally:
        for reference in under_way:
            ray.cancel(reference, force=True)


def _outcome(ray: Any, reference: Any, job: Job, event: Event) -> Done:
    try:
        outcome = json.loads(ray.get(reference))
    except ray.exceptions.RayError as error:
        raise DataError(f"{job.unit.step} unit {job.id[:8]}: Ray gave it up ({_line(error)}). {advice(str(error))}") from None
    for kind, facts in outcome["events"]:
        event(kind, **facts)
    if "fault" in outcome:
        raise FINAL[outcome["fault"]](outcome["reason"])
    return Done.of(outcome["done"])


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported: nothing is reported to anyone
    try:
        import ray  # heavy: only for clusters
    except ImportError:
        raise UsageError("ray: not installed. Run `pip install 'scratchlm[ray]'`, or choose the local engine.") from None
    return ray


def _join(ray: Any, jobs: Sequence[Job], engine: Engine) -> None:
    # Our package is always sent: units are named by the code that plans them, so that code and no other may do them.
    environment = {
        "py_modules": _modules(jobs),
        "env_vars": {name: os.environ[name] for name in engine.forward if name in os.environ},
    }
    # "auto" lets Ray read RAY_ADDRESS, and never starts a cluster.
    address = engine.address or "auto"
    try:
        ray.init(address=address, runtime_env=environment, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(f"ray: cannot join the cluster at {address} ({_line(error)}). {advice(str(error))}") from None


def _modules(jobs: Sequence[Job]) -> list[str]:
    """Folders or files of the packages that the work functions live in, ours first."""
    assert scratchlm.__file__
    found = [str(Path(scratchlm.__file__).parent)]
    for name in sorted({job.unit.work.partition(":")[0].partition(".")[0] for job in jobs} - {"scratchlm"}):
        spec = importlib.util.find_spec(name)
        if spec and spec.submodule_search_locations:
            found.append(str(next(iter(spec.submodule_search_locations))))
        elif spec and spec.origin and spec.origin.endswith(".py"):
            found.append(spec.origin)
    return found


def _check_memory(ray: Any, engine: Engine) -> None:
    most = max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if most < engine.memory_bytes:
        raise UsageError(
            f"ray: a worker may hold {engine.memory_bytes / 1e6:.0f} MB and the largest machine of the cluster offers "
            f"{most / 1e6:.0f}. Lower memory_bytes, or add a larger machine."
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def advice(message: str) -> str:
    """What would do, by what Ray's message speaks of."""
    known = {
        "version mismatch": "Use the same Python and the same ray here as on the cluster.",
        "could not find any running ray": "Start one with `ray start --head`, or name it: RAY_ADDRESS=host:port.",
        "token": "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file with the cluster's token.",
        "auth": "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file with the cluster's token.",
        "modulenotfounderror": "Install scratchlm's dependencies on the machines of the cluster.",
        "runtime_env": "The cluster could not unpack our code: look at its runtime_env log.",
        "memory": "A machine ran out of memory: lower memory_bytes or make units smaller.",
    }
    return next(
        (advice for word, advice in known.items() if word in message.lower()),
        "Check that the cluster is up and RAY_ADDRESS is its address.",
    )
