"""``hub_fetch.py ENDPOINT REPOSITORY FOLDER JOBS``: huggingface_hub, which asks HEAD before GET and does not hash."""

import os
import sys
import time

endpoint, repository, folder, jobs = sys.argv[1:]
os.environ |= {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

from huggingface_hub import snapshot_download  # noqa: E402 - it reads the environment when it is imported

start = time.perf_counter()
snapshot_download(repository, cache_dir=folder, max_workers=int(jobs))
print("inner", time.perf_counter() - start)
