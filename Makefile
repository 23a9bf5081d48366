# Two commands on a fresh machine: `make demo` and `make test`. Both make the environment they need.

export OMP_NUM_THREADS ?= 1
RUN ?= runs/demo

.PHONY: demo test slow-test

demo:
	@tools/environment
	@.venv/bin/kappaforge init $(RUN) --template demo --keep
	@.venv/bin/kappaforge run $(RUN)

test:
	@tools/environment test cluster sevenn gpaw espresso
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest

slow-test:
	@tools/environment test cluster slurm sevenn gpaw espresso
	.venv/bin/pytest -m slow
