"""Training in several processes, one a Spark task."""

from __future__ import annotations

import logging
import os
import re
from typing import Any

from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from spark_ctr.estimator.run_params import HasTrainingRun
from spark_ctr.training.worker import Job, train_rank

logger = logging.getLogger("spark_ctr")

_ATTEMPTS = 3


def check_run(params: HasTrainingRun) -> None:
    """Refuse a training that the session's cluster, or this installation, cannot run.

    Raises
    ------
    ValueError, ImportError
    """
    params.check_tracking()
    cache_dir = params._value("cacheDir")
    _check_workers(params.getNumWorkers(), params.getBatchSize(), params.getDevice(), cache_dir)


def _check_workers(workers: int, batch_size: int, device: str, cache_dir: str | None) -> None:
    if workers == 1:
        return
    spark = SparkSession.active()
    if batch_size % workers:
        raise ValueError(
            f"batchSize ({batch_size}) is shared among numWorkers ({workers}) processes and must "
            "be a multiple of it"
        )
    slots = _slots(spark)
    if slots is not None and workers > slots:
        raise ValueError(
            f"numWorkers ({workers}) tasks must run at the same time, but the cluster "
            f"({spark.conf.get('spark.master')}) runs {slots}: lower numWorkers or add executors"
        )
    if device == "cuda" and not _has_gpu_tasks(spark):
        raise ValueError(
            "device='cuda' with numWorkers > 1 needs executors with GPUs: set "
            "spark.task.resource.gpu.amount"
        )
    if cache_dir is None and not _master(spark).startswith("local"):
        raise ValueError(
            "numWorkers > 1 needs cacheDir, a folder that the driver and all executors share"
        )


def check_gpu_tasks() -> None:
    """Raise ValueError where no task of a cluster would get a GPU; local tasks take what is there.

    Raises
    ------
    ValueError
    """
    spark = SparkSession.active()
    if not _has_gpu_tasks(spark) and not _master(spark).startswith("local"):
        raise ValueError(
            "device='cuda' needs tasks with GPUs: set spark.executor.resource.gpu.amount and "
            "spark.task.resource.gpu.amount, or take device='auto'"
        )


def train_on_workers(job: Job, workers: int, device: str) -> dict[str, Any]:
    """Run a job as one barrier stage and return what its first process returned.

    Where a process is lost, with its executor say, the job runs again from its last checkpoint,
    three times at most.

    Raises
    ------
    Exception
        The first process's that failed, with its traceback; Spark's, where a process was lost.
    """
    gpus = device != "cpu" and _has_gpu_tasks(SparkSession.active())
    attempt = 0
    while True:
        attempt += 1
        try:
            distributor = TorchDistributor(workers, local_mode=False, use_gpu=gpus)
            return distributor.run(train_rank, job)  # type: ignore[return-value]
        except Exception as error:
            job.raise_first_error()
            # No worker left word, so one was lost: Spark does not start this stage again.
            failed = [line for line in str(error).splitlines() if "barrier" in line]
            if attempt == _ATTEMPTS or not failed:
                raise
            logger.warning(
                "a training worker was lost (%s); training goes on from the last checkpoint",
                failed[0],
            )


def threads_per_task() -> int:
    """CPU cores that Spark gives a task."""
    return int(SparkSession.active().conf.get("spark.task.cpus", "1") or 1)


def _master(spark: SparkSession) -> str:
    return spark.conf.get("spark.master", "") or ""


def _has_gpu_tasks(spark: SparkSession) -> bool:
    return float(spark.conf.get("spark.task.resource.gpu.amount", "0") or 0) > 0


def _slots(spark: SparkSession) -> int | None:
    """Tasks that run at the same time; None where only the cluster manager knows."""
    master = _master(spark)
    cluster = re.fullmatch(r"local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,.*\]", master)
    local = re.fullmatch(r"local(?:\[\s*(\d+|\*)\s*(?:,.*)?\])?", master)
    if cluster:
        cores = int(cluster[1]) * int(cluster[2])
    elif local:
        # Spark counts the cores of the server's machine, which is this one but on Connect.
        cores = (os.cpu_count() or 1) if local[1] == "*" else int(local[1] or 1)
    else:
        return None
    return cores // int(spark.conf.get("spark.task.cpus", "1") or 1)
