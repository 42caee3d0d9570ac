"""The engine that trains both stages: data, batches, steps, checkpoints, logs."""
