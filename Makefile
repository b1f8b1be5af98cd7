# Needs Python 3.11 or newer, make and git. Everything else is installed into .venv, which nothing outside depends on.

MODEL ?=
ARGS ?=
CUDA ?=
PYTHON ?=

VENV := .venv
BIN := $(VENV)/bin
EXTRA := $(if $(filter Darwin,$(shell uname -s)),metal,$(if $(CUDA),cuda,cpu))
SYNCED := $(VENV)/.synced-$(EXTRA)

# The interpreter that made .venv is the one that is used: none is downloaded, none is picked up from elsewhere.
export UV_PYTHON_DOWNLOADS := never
export UV_PYTHON := $(CURDIR)/$(BIN)/python
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/$(VENV)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

.DEFAULT_GOAL := help
.PHONY: help serve dev demo test test-clients check fmt bench dashboards install-service uninstall-service clean

help: ## show this list
	@echo "Usage: make TARGET [MODEL=tiny|DIRECTORY|OWNER/REPO] [CUDA=1] [PYTHON=python3.12] [ARGS=...]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' Makefile | awk -F '\t' '{ printf "  %-18s %s\n", $$1, $$2 }'

serve: $(SYNCED) ## start the server at http://127.0.0.1:42002
	@$(BIN)/llm-server serve $(if $(MODEL),--model "$(MODEL)") $(ARGS)

dev: $(SYNCED) ## the same, started again when a source file changes, and open to web pages on this machine
	@$(if $(MODEL),LLM_MODEL_PATH="$(MODEL)") $(BIN)/python -m llm_server.dev

demo: $(SYNCED) ## a server, a varied load on it and, where Docker runs, the dashboards
	@$(if $(MODEL),LLM_MODEL_PATH="$(MODEL)") deploy/demo.sh

test: check ## all checks and all tests
	$(BIN)/pytest $(ARGS)

test-clients: $(SYNCED) ## install Codex, Claude Code, LangChain and others into throwaway folders and run them
	$(BIN)/pytest -m real_clients -rA --tb=short tests/real_clients $(ARGS)

check: $(SYNCED) ## lint, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fmt: $(SYNCED) ## put the sources into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(SYNCED) ## measure a bare loop, this server and mlx_lm.server side by side
	@$(BIN)/llm-server bench $(if $(MODEL),--model "$(MODEL)") $(ARGS)

dashboards: $(SYNCED) ## write the Grafana dashboards anew from their sources
	PYTHONPATH=monitoring/grafana $(BIN)/python -m boards

install-service: $(SYNCED) ## let macOS start the server at login and keep it running
	@deploy/launchd/service.sh install

uninstall-service: ## undo that
	@deploy/launchd/service.sh uninstall

clean: ## remove all that make has made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find service tests monitoring -name __pycache__ -type d -prune -exec rm -rf {} +

$(SYNCED): pyproject.toml uv.lock | $(BIN)/python
	@command -v uv >/dev/null || test -x $(BIN)/uv || { echo "Installing uv into $(VENV)" && $(BIN)/python -m pip install --quiet uv; }
	PATH="$$PATH:$(CURDIR)/$(BIN)" uv sync --frozen --extra $(EXTRA)
	@rm -f $(VENV)/.synced-* && touch $@

$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Python 3.11 or newer is needed, and none of python3, python3.14, ... python3.11 is that." >&2; exit 1; \
	fi; \
	if command -v uv >/dev/null; then pip=--without-pip; fi; \
	"$$python" -m venv $$pip $(VENV) || { rm -rf $(VENV); \
	    echo "$$python can not make $(VENV): on Debian and Ubuntu, 'apt install python3-venv' mends that." >&2; exit 1; }
