"""The loop of both stages: AdamW, OneCycle, checkpoints, validation.

A batch is computed in parts, one or more a device. Where there is more than one, its forward pass
is made first without gradient, so that contrastive losses see the whole batch, and then again
part by part with gradient (gradient caching). Parts change what is held in memory, not the loss.
"""

import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from corticast_training.errors import TrainingError
from corticast_training.progress import Bar
from corticast_training.training.batches import Batch
from corticast_training.training.devices import gather, sum_over_devices
from corticast_training.training.draws import seed_torch
from corticast_training.training.folder import on_first
from corticast_training.training.log import Log
from corticast_training.training.reached import Reached
from corticast_training.training.state import last_checkpoint, load_state, save_state
from corticast_training.training.task import Task, Term
from corticast_training.training.weights import (
    model_tensors,
    optimiser_tensors,
    set_model,
    set_optimiser,
)

# Of the supplement: two epochs of warm-up, the last rate a thousandth of the first.
WARM_UP_EPOCHS = 2
FINAL_DIVISOR = 1000
# Up, down, and one more to be distinct.
FEWEST_STEPS = 3


WriteBest = Callable[[dict[str, Tensor], Reached], None]


class Loop:
    """One training of one stage."""

    def __init__(
        self,
        fabric: Fabric,
        task: Task,
        out: Path,
        *,
        binding: dict[str, Any],
        write_best: WriteBest,
        resume: bool,
    ) -> None:
        """`binding` is what a checkpoint has to agree in; `write_best` keeps weights."""
        self.fabric, self.task, self.out = fabric, task, out
        self.binding, self.write_best = binding, write_best
        self.plan = task.schedule
        self.n_step = self.plan.epochs * task.batches.per_epoch
        if self.n_step < FEWEST_STEPS:
            raise TrainingError(
                f"{task.name} has {self.n_step} steps, expected {FEWEST_STEPS} or more: "
                f"set {task.name}.epochs higher or {task.name}.batch lower"
            )
        self.reached = Reached()
        folder = last_checkpoint(out) if resume else None
        tensors, scalars = ({}, {}) if folder is None else self._load(folder)

        task.place(fabric.device)
        self.network = fabric.setup_module(task.network)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        # The greatest rate; OneCycle sets the one of each step.
        optimiser = torch.optim.AdamW(
            trained, lr=self.plan.max_learning_rate, weight_decay=self.plan.weight_decay
        )
        if folder is not None:
            self._restore(folder, tensors, scalars, optimiser)
        self.raw_optimiser = optimiser
        self.optimiser: Any = fabric.setup_optimizers(optimiser)
        self.rates = OneCycleLR(
            optimiser,
            max_lr=self.plan.max_learning_rate,
            total_steps=self.n_step,
            pct_start=max(min(WARM_UP_EPOCHS / self.plan.epochs, 0.5), 2 / self.n_step),
            final_div_factor=FINAL_DIVISOR,
        )
        # The rate depends on the count of steps alone.
        self.rates.last_epoch = min(self.reached.step, self.n_step - 1) - 1
        with warnings.catch_warnings():
            # That the optimiser did not step before: it did, in the run that was cut.
            warnings.simplefilter("ignore", UserWarning)
            self.rates.step()
        self.stopping = False

    def _load(self, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, scalars = load_state(folder)
        found = scalars.get("binding", {})
        for key in sorted(self.binding.keys() | found.keys()):
            if self.binding.get(key) != found.get(key):
                raise TrainingError(
                    f"{folder}: {key} is {found.get(key)!r}, expected {self.binding.get(key)!r}: "
                    "it goes on only with what it began with"
                )
        return tensors, scalars

    def _restore(
        self,
        folder: Path,
        tensors: dict[str, Tensor],
        scalars: dict[str, Any],
        optimiser: torch.optim.Optimizer,
    ) -> None:
        weights, moments = _parts(tensors, "model/"), _parts(tensors, "optimiser/")
        set_model(self.task.network, weights, folder)
        set_optimiser(self.task.network, optimiser, moments)
        self.fabric.strategy.precision.load_state_dict(scalars["scaler"])
        self.reached = Reached(**scalars["reached"])

    def run(self, max_steps: int | None = None) -> Reached:
        """Trains to the end, or to `max_steps`, or until it is asked to stop."""
        if self.reached.finished:
            return self.reached
        first = self.fabric.is_global_zero
        names = [*self.task.terms, *self.task.metrics]
        log = Log(self.out, names, after_step=self.reached.step) if first else None
        old = {name: signal.signal(name, self._ask_to_stop) for name in _SIGNALS}
        last = self.n_step if max_steps is None else min(max_steps, self.n_step)
        try:
            with Bar(self.task.name, self.n_step, self.reached.step, shown=first) as bar:
                while self.reached.step < last and not self.reached.finished:
                    self._one(log, bar)
                    if self.stopping:
                        break
            # Before the handlers go: a second Ctrl-C must not end what the first one asked for.
            self._checkpoint()
        finally:
            for name, handler in old.items():
                signal.signal(name, handler)
            if log is not None:
                log.close()
        return self.reached

    def _one(self, log: Log | None, bar: Bar) -> None:
        per_epoch = self.task.batches.per_epoch
        epoch, index = divmod(self.reached.step, per_epoch)
        rate = self.rates.get_last_lr()[0]
        losses = self._step(self.task.batches.batch(epoch, index))
        self.reached.step += 1
        if self.reached.step < self.n_step:
            self.rates.step()
        if log is not None:
            log.row(self.reached.step, epoch, "train", {"learning_rate": float(rate), **losses})
        bar.advance(f"epoch {epoch + 1}/{self.plan.epochs}, loss {losses['loss']:.4g}")
        if index + 1 == per_epoch:
            self._end_epoch(epoch, log, bar)
        every = self.plan.checkpoint_every_steps
        if every and self.reached.step % every == 0:
            self._checkpoint()

    def _step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; the losses of the whole batch by name, and their sum."""
        task, fabric, plan = self.task, self.fabric, self.plan
        self.network.train()
        first = fabric.global_rank * plan.accumulate
        parts = [task.batches.part(first + index) for index in range(plan.accumulate)]
        rows = [torch.from_numpy(part) for part in parts]
        alone = task.batches.n_part == 1
        cached = None if alone or plan.accumulate == 1 else self._cache(batch, rows)

        totals: dict[str, tuple[Tensor, Term]] = {}
        for index, own in enumerate(rows):
            last = index + 1 == len(rows)
            with fabric.no_backward_sync(self.network, enabled=not last):
                self._seed(first + index)
                outputs = task.forward(self.network, batch, own)
                if alone:
                    everyone = {name: outputs[name] for name in task.shared}
                else:
                    if cached is None:
                        cached = self._gather([{n: outputs[n] for n in task.shared}])
                    place = own.to(fabric.device)
                    everyone = {
                        name: cached[name].index_copy(0, place, outputs[name].float())
                        for name in task.shared
                    }
                terms = task.losses(batch, own, outputs, everyone)
                total = torch.stack([term.weight * term.value for term in terms.values()]).sum()
                # Strategies average over devices; the parts of a loss are to be summed.
                fabric.backward(total * fabric.world_size)
            for name, term in terms.items():
                value = term.value.detach()
                if name in totals and not term.shared:
                    value = value + totals[name][0]
                totals[name] = (value, term)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return self._sum(totals)

    def _cache(self, batch: Batch, rows: list[Tensor]) -> dict[str, Tensor]:
        first = self.fabric.global_rank * self.plan.accumulate
        found = []
        with torch.no_grad():
            for index, own in enumerate(rows):
                self._seed(first + index)
                outputs = self.task.forward(self.network, batch, own)
                found.append({name: outputs[name] for name in self.task.shared})
        return self._gather(found)

    def _gather(self, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Shared outputs of all parts of all devices, in the order of the batch."""
        batches = self.task.batches
        order = torch.cat([torch.from_numpy(batches.part(k)) for k in range(batches.n_part)])
        place = torch.argsort(order).to(self.fabric.device)
        return {
            name: gather(self.fabric, torch.cat([part[name].float() for part in parts]))[place]
            for name in self.task.shared
        }

    def _seed(self, part: int) -> None:
        seed_torch(self.plan.seed, self.task.name, self.reached.step, "dropout", part)

    def _sum(self, totals: dict[str, tuple[Tensor, Term]]) -> dict[str, float]:
        own = [value for value, term in totals.values() if not term.shared]
        asked = torch.tensor(float(self.stopping), device=self.fabric.device)
        summed = sum_over_devices(self.fabric, torch.stack([asked, *own])).tolist()
        # A signal to one device stops all of them at the same step.
        self.stopping = summed.pop(0) > 0
        losses, total = {}, 0.0
        for name, (value, term) in totals.items():
            losses[name] = float(value) if term.shared else summed.pop(0)
            total += term.weight * losses[name]
        if total != total or total in (float("inf"), -float("inf")):
            raise TrainingError(
                f"{self.task.name}: the loss of step {self.reached.step + 1} is {total}, expected "
                f"a number: set {self.task.name}.max_learning_rate lower, or another precision"
            )
        return {"loss": total, **losses}

    def _end_epoch(self, epoch: int, log: Log | None, bar: Bar) -> None:
        at_end = self.reached.step == self.n_step
        if not self.task.has_validation:
            if at_end:
                self._keep(epoch, {}, [])
        else:
            self.network.eval()
            with torch.no_grad():
                metrics = self.fabric.broadcast(self.task.validate(self.network))
            if log is not None:
                log.row(self.reached.step, epoch, "validation", metrics)
                shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
                bar.say(f"{self.task.name} epoch {epoch + 1}/{self.plan.epochs}: {shown}")
            score = list(self.task.score(metrics))
            if self.reached.best is None or score > self.reached.best:
                self._keep(epoch, metrics, score)
            else:
                self.reached.waited += 1
        patience = self.plan.patience_epochs
        self.reached.finished = at_end or bool(patience and self.reached.waited >= patience)

    def _keep(self, epoch: int, metrics: dict[str, float], score: list[float]) -> None:
        self.reached.best, self.reached.best_epoch = score, epoch
        self.reached.best_metrics, self.reached.waited = metrics, 0
        tensors = model_tensors(self.task.network)
        on_first(self.fabric, lambda: self.write_best(tensors, self.reached))

    def _checkpoint(self) -> None:
        kept = last_checkpoint(self.out)
        done = kept is not None and kept.name == f"checkpoint-{self.reached.step:08d}"
        if self.fabric.broadcast(done) or self.reached.step == 0:
            return
        tensors = {f"model/{k}": v for k, v in model_tensors(self.task.network).items()}
        moments = optimiser_tensors(self.task.network, self.raw_optimiser)
        tensors |= {f"optimiser/{k}": v for k, v in moments.items()}
        scalars = {
            "binding": self.binding,
            "reached": vars(self.reached),
            "scaler": self.fabric.strategy.precision.state_dict(),
        }
        on_first(self.fabric, lambda: save_state(self.out, self.reached.step, tensors, scalars))

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _parts(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
