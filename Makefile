# Two commands on a fresh machine: `make demo` and `make test`. Both make the environment they need.

export OMP_NUM_THREADS ?= 1
RUN ?= runs/demo

.PHONY: demo test slow-test docs

demo:
	@tools/environment
	@.venv/bin/kappaforge init $(RUN) --template demo --keep
	@.venv/bin/kappaforge run $(RUN)

test:
	@tools/environment test browser docs cluster sevenn gpaw espresso
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest --numprocesses auto --maxprocesses 8 --dist loadfile

slow-test:
	@tools/environment test browser docs cluster slurm sevenn gpaw espresso
	.venv/bin/pytest -m slow

docs:
	@tools/environment docs
	.venv/bin/python -m sphinx -W --keep-going -b html docs build/docs
