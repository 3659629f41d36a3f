# make demo: the whole pipeline in small.  make test: the tests.  Both set up what they need.
PYTHON := python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
DEMO := runs/demo
LEROBOT_PYTHON := python3.12
LEROBOT := .venv-lerobot
LEROBOT_STAMP := $(LEROBOT)/installed
OPENPI := .venv-openpi

DRAWS := 2000
SEED := 0
DEVICE := auto

# Of a shell that sourced ROS it names packages of another Python, pytest plug-ins among them.
unexport PYTHONPATH

.PHONY: demo test test-slow fuzz gpu-check check structure test-sdk test-lerobot lerobot-speed test-openpi setup wheel wheel-test constraints
.DELETE_ON_ERROR:

demo: setup
	$(BIN)/python -m rl.recap +exp=demo out=$(DEMO)
	$(BIN)/python -m real.rollout robot=emulator checkpoint=$(DEMO)/round_1/policy episodes=4 out=$(DEMO)/robot
	$(BIN)/python -m policies.report run=$(DEMO)

test: setup
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m slow

# Wrong options and damaged files: DRAWS=N of each kind, from SEED=K.
fuzz: setup
	$(BIN)/python -m pytest tests/fuzz --timeout=0 --draws=$(DRAWS) --fuzz-seed=$(SEED)

# A GPU beside the CPU: equal results, speed. Exit code 1 where they differ, 2 without a GPU; DEVICE=cpu checks the CPU alone.
gpu-check: setup
	$(BIN)/python -m policies.gpu_check device=$(DEVICE)

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

structure: setup
	$(BIN)/python tests/structure.py

# The emulator under the vendor's own SDK: SDK=DIR holds its package `fairino`, of any release; SDK_PYTHON=PROGRAM has what
# that imports, if .venv has not; FIRMWARE=RELEASE of the emulator, if the SDK misstates its own.
test-sdk: setup
	PYTHONPATH=. $(BIN)/python tests/real/vendor_sdk.py $(SDK) $(or $(SDK_PYTHON),$(BIN)/python) $(FIRMWARE)

# Our server under openpi's published client, laid beside .venv: it asks for an older numpy than it needs.
test-openpi: setup
	$(BIN)/python -m pip install --quiet --no-deps --target $(OPENPI) openpi-client==0.1.2
	PYTHONPATH=$(OPENPI) $(BIN)/python -m pytest -q tests/policies/test_serve.py -m slow

# LeRobot's own commands on our datasets, plugin and emulator, in an environment of its own; prints a table of them.
test-lerobot: $(LEROBOT_STAMP)
	$(LEROBOT)/bin/python -m pytest -q tests/real/test_lerobot_plugin.py tests/sim/test_dataset_format.py tests/with_lerobot
	$(LEROBOT)/bin/python tests/with_lerobot/commands.py

# Frames a second in training, LeRobot's ACT beside ours on the same demonstrations.
lerobot-speed: $(LEROBOT_STAMP)
	$(LEROBOT)/bin/python tests/with_lerobot/speed.py

wheel: setup
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# A wheel in an empty environment, used from another folder. Does not touch .venv.
wheel-test:
	PYTHON=$(PYTHON) bash .ci/wheel

# Names the system libraries that are missing, with the line that installs them.
setup: $(STAMP)
	@$(BIN)/python -c "from sim.render.gl import main; main()"

# Exactly what .venv has now. For newer versions install them there first, and run the tests before committing the file.
constraints: setup
	@{ echo "# What the tests run with: make constraints"; \
	  $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.new
	@mv constraints.new constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { \
	  echo "error: $(PYTHON) with venv is missing; install it with: apt-get install -y python3.11 python3.11-venv" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	$(BIN)/python .ci/labmaze.py
	@touch $@

# Without constraints.txt: LeRobot wants an older torch.
$(LEROBOT_STAMP): pyproject.toml real/lerobot_robot_fairino_fr3/pyproject.toml
	@said="$$($(LEROBOT_PYTHON) -c "import ensurepip, venv" 2>&1)" || { \
	  echo "error: $(LEROBOT_PYTHON) with venv does not run ($$(echo "$$said" | tr -s '\n' ' ' | cut -c -200)); LeRobot 0.6 needs it:" \
	  "LEROBOT_PYTHON=PROGRAM names another" >&2; exit 2; }
	@test -x $(LEROBOT)/bin/python || $(LEROBOT_PYTHON) -m venv $(LEROBOT)
	PYTHONWARNINGS=ignore $(LEROBOT)/bin/python -m pip install --quiet -e '.[serve]' -e real/lerobot_robot_fairino_fr3 \
	  'lerobot[diffusion,smolvla]' pytest pytest-timeout hypothesis
	@touch $@
