# Everything starts on a bare machine: each target makes the environment that it needs.

VENV := .venv
BIN := $(VENV)/bin
# Tests mostly wait for processes and deadlines, so there may be one more than there are processors.
# tests/conftest.py says which stay together. The slow ones come first in the alphabet.
WORKERS := $(shell echo $$(($$(nproc) + 1)))
PLUGINS := load memory swap disk process http tcp file-age systemd certificate

.PHONY: help run demo screenshots test lint bench format clean

help:
	@echo 'make run     a server and an agent that watches this machine; PORT=5001 for another port'
	@echo 'make demo    a server full of lifelike, moving data; KEEP=yes goes on with the last one'
	@echo 'make test    all tests; TESTS="tests/daemon -k judge" for some'
	@echo 'make lint    ruff and mypy'
	@echo 'make bench   how fast it is; BENCH="--only post1" for one row, BENCH=--help for more'
	@echo 'make screenshots  every page at three widths, light and dark, in var/screenshots'
	@echo 'make format  let ruff write the code anew'
	@echo 'make clean   remove the environment and what was built; your data in var/ stays'

run: $(VENV)/.server
	@exec $(BIN)/python dev/run.py

demo: $(VENV)/.server
	@exec $(BIN)/python -m dev.demo

screenshots: $(VENV)/.dev
	@$(BIN)/python -m dev.screenshots $(ONLY)

test: $(VENV)/.dev
	@sh dev/debian-packages.sh
	$(BIN)/python -m pytest --timeout 300 -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff check . $(PLUGINS:%=etc/overc/plugin.d/%)
	$(BIN)/ruff format --check . $(PLUGINS:%=etc/overc/plugin.d/%)
	$(BIN)/mypy
	@# One at a time: each of them is a __main__.
	@for plugin in $(PLUGINS); do \
	    MYPYPATH=etc/overc/plugin.d $(BIN)/mypy --no-error-summary \
	        "etc/overc/plugin.d/$$plugin" || exit 1; \
	done

bench: $(VENV)/.dev
	$(BIN)/python -m bench $(BENCH)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix . $(PLUGINS:%=etc/overc/plugin.d/%)
	$(BIN)/ruff format . $(PLUGINS:%=etc/overc/plugin.d/%)

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/.server: setup.cfg pyproject.toml
	@sh dev/environment.sh $(VENV) server
	@touch $@

$(VENV)/.dev: setup.cfg pyproject.toml
	@sh dev/environment.sh $(VENV) dev
	@touch $@ $(VENV)/.server
