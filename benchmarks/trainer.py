"""The Trainer of transformers, its loop as it is: a whole run, or one step at a time.

It is asked for what its user would ask for: no reports, no saved copies, no progress bar. Rows begin anywhere in the text. Targets are
given beside the inputs, so that all positions of a row learn something, as everywhere else.
"""

import queue
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.baseline import Recipe
from benchmarks.turns import Step

if TYPE_CHECKING:
    from transformers import Trainer

ENDLESS = 10**6
"""Steps, more than anybody asks for."""


class Rows(Dataset[dict[str, Tensor]]):
    """All rows of a text, one for every place where one can begin."""

    def __init__(self, ids: Tensor, context: int) -> None:
        self._ids, self._context = ids, context

    def __len__(self) -> int:
        return len(self._ids) - self._context

    def __getitem__(self, at: int) -> dict[str, Tensor]:
        targets = self._ids[at + 1 : at + 1 + self._context]
        return {"input_ids": self._ids[at : at + self._context], "labels": targets, "shift_labels": targets}


def trainer(model: nn.Module, data: Rows, folder: Path, **settings: Any) -> "Trainer":
    """The class itself; ``settings`` are of its TrainingArguments."""
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder), save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
        remove_unused_columns=False,  # shift_labels goes through the model to its loss, and is no argument by name
        **settings,
    )  # fmt: skip
    return Trainer(model=model, args=arguments, train_dataset=data)  # pyright: ignore[reportArgumentType]


def learn(model: nn.Module, data: Rows, recipe: Recipe, seed: int, folder: Path) -> None:
    """Train by a recipe from its first step to its last."""
    trainer(
        model, data, folder, use_cpu=True, seed=seed, max_steps=recipe.steps, per_device_train_batch_size=recipe.rows,
        learning_rate=recipe.lr, lr_scheduler_type="cosine_with_min_lr", lr_scheduler_kwargs={"min_lr": recipe.least_lr},
        warmup_steps=recipe.warmup, adam_beta1=recipe.betas[0], adam_beta2=recipe.betas[1], weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.clip,
    ).train()  # fmt: skip


def stepwise(model: nn.Module, data: Rows, rows: int, folder: Path, *, device: str) -> Step:
    """Its loop as it runs by itself, in a thread that waits after every step until the next one is asked for."""
    from transformers import TrainerCallback

    asked, done = queue.SimpleQueue[None](), queue.SimpleQueue[BaseException | None]()

    class Turn(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            done.put(None)
            asked.get()

    loop = trainer(model, data, folder, use_cpu=device == "cpu", max_steps=ENDLESS, per_device_train_batch_size=rows)
    loop.add_callback(Turn())

    def run() -> None:
        asked.get()
        try:
            loop.train()
            raise RuntimeError(f"it ends after {ENDLESS:,} steps")
        except BaseException as error:  # noqa: BLE001 - it is raised where the step was asked for
            done.put(error)

    threading.Thread(target=run, daemon=True).start()

    def step() -> None:
        asked.put(None)
        if failed := done.get():
            raise RuntimeError("the loop of Trainer ended") from failed

    return step
