"""Roll back to the last good checkpoint, with lower learning rates."""

from __future__ import annotations

from torch_sr.errors import TrainingError
from torch_sr.training.loop.divergence import Divergence
from torch_sr.training.loop.state import TrainerState
from torch_sr.training.loop.store import StageStore
from torch_sr.training.stage_base import Stage


def roll_back(divergence: Divergence, stage: Stage, state: TrainerState, store: StageStore) -> str:
    """Restore the last good checkpoint, and lower the learning rates of the stage.

    Returns:
        a message for the user.

    Raises:
        CheckpointError: there is no readable checkpoint.
        TrainingError: the stage diverged more often than allowed.
    """
    store.withdraw_unvalidated()
    watch, before, start, best = state.watch.config, state.progress, state.start, state.best
    place = f"{stage.name}, epoch {before.epoch + 1}, step {before.step}: {divergence}"
    rollbacks = state.watch.rollbacks + 1
    if watch.action == "stop" or rollbacks > watch.max_rollbacks:
        tried = f" after {rollbacks - 1} rollbacks" if watch.action == "rollback" else ""
        raise TrainingError(
            f"{place}; stopped{tried}: lower the learning rate or set gradient_clip, and "
            f"resume from {store.checkpoint_file}"
        )
    store.restore_last_good()
    # The best model on disk may be from a later epoch than this checkpoint.
    state.start, state.best, progress = start, best, state.progress
    progress.best_psnr = max(progress.best_psnr, before.best_psnr)
    progress.best_ssim = max(progress.best_ssim, before.best_ssim)
    state.watch.rollbacks = rollbacks
    stage.scale_learning_rates(state.watch.lr_scale)
    return (
        f"{place}; rolled back to epoch {progress.epoch}, step {progress.step}, with the learning "
        f"rates times {state.watch.lr_scale:g}"
    )
