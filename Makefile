# Linewise from a checkout. `make` alone lists the targets; each makes .venv first where it is missing or out of date.
#
# ARGS is handed on:           make test ARGS="-k calibration -x"
# PYTHON names an interpreter: make test PYTHON=/opt/python3.12/bin/python3
#
# Package indexes, proxies and caches are pip's own settings (PIP_*, pip.conf), so none is named here. Every path is
# relative to this folder, whose own name may hold spaces.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# There from the start of an installation to its end: found beforehand, it tells of one that was killed half-way.
UNFINISHED := $(VENV)/.unfinished
LOG := $(VENV)/install.log
TRUST_TOOLS := build/trust

PYTEST = $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder

PYTHON ?=
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test end-to-end lint test-ui plant-day bench-scoring fuzz faults soak sbom audit lock clean

help:
	@echo "make demo    meta-train on generated lines, adapt to an unseen one, export, score, write the report"
	@echo "make test    run the tests but the end-to-end ones (ARGS=... goes to pytest)"
	@echo "make end-to-end  run those: the README's commands, a Prefect server and a browser, the wheel, the set-up"
	@echo "make lint    ruff, pyright, the import contracts, and deploy/ against its programs' rules"
	@echo "make test-ui  real server, worker and pages in a browser; screenshots in build/ui (SHOTS=FOLDER: README's two)"
	@echo "make plant-day  a plant's day with what goes wrong (QUICK=1: shorter) into benchmarks/out/plant_day.json"
	@echo "make bench-scoring  measure scoring (QUICK=1: in under ten minutes) into benchmarks/out/scoring.json"
	@echo "make fuzz    100,000 damaged and hostile inputs (QUICK=1: in under five minutes) into benchmarks/out/fuzz.json"
	@echo "make faults  kill -9 at 200 random moments, full disks, jumping clocks ... (QUICK=1: in under five minutes)"
	@echo "make soak    score for two hours, a bundle a minute: is memory flat? (QUICK=1: in under five minutes)"
	@echo "make sbom    what is installed, as a bill of materials (CycloneDX) in build/sbom.json"
	@echo "make audit   look our pins up among known vulnerabilities, where the service can be reached"
	@echo "make lock    resolve the dependencies anew and rewrite constraints.txt"
	@echo "make clean   remove $(VENV) and everything built"

# Sets $$python to the first interpreter that can make a virtual environment. Each is asked, not only looked for: a
# version manager's shim exists for versions that are not switched on, and some systems ship Python without venv.
define find_python
python=; \
for candidate in "$(PYTHON)" python3.11 python3.12 python3.13 python3.14 python3 python; do \
  if [ -n "$$candidate" ] \
    && "$$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
    python=$$candidate; break; \
  fi; \
  if [ -n "$(PYTHON)" ]; then break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "Expected Python 3.11 or newer with its venv and ensurepip modules, got none" \
    "$(if $(PYTHON),at $(PYTHON),on the PATH): install one (on Debian: apt-get install python3 python3-venv)" \
    "or name one with make PYTHON=/path/to/python3." >&2; \
  exit 1; \
fi
endef

# A failure that pip reports itself has been rolled back by pip and keeps the environment for the next try. One that was
# interrupted or killed may leave half a package behind that pip later takes for a whole one: then it starts anew.
$(INSTALLED): pyproject.toml constraints.txt
	@set -eu; \
	if [ -e $(UNFINISHED) ]; then \
	  echo "==> The last installation was cut short: removing $(VENV)"; rm -rf $(VENV); \
	fi; \
	if ! $(BIN)/python -c 'import pip' >/dev/null 2>&1; then \
	  $(find_python); \
	  echo "==> Making a virtual environment in $(VENV) with $$("$$python" --version)"; \
	  rm -rf $(VENV); mkdir $(VENV); : > $(UNFINISHED); \
	  "$$python" -m venv $(VENV); \
	fi; \
	echo "==> Installing linewise and the versions in constraints.txt (the first time: several GB and some minutes)"; \
	: > $(UNFINISHED); interrupted=; trap 'interrupted=yes' HUP INT TERM; \
	rm -f $(LOG); \
	status=0; $(BIN)/python -m pip install -qq --log $(LOG) --constraint constraints.txt --editable '.[dev]' || status=$$?; \
	if [ $$status -ne 0 ]; then \
	  if [ -z "$$interrupted" ] && [ $$status -lt 128 ]; then rm -f $(UNFINISHED); fi; \
	  echo "Installing failed (pip's message stands above, all it did is in $(LOG)); the same make command tries again." >&2; \
	  exit $$status; \
	fi; \
	rm -f $(UNFINISHED); touch $@

demo: $(INSTALLED)
	@echo "==> Running the demo"
	@$(BIN)/linewise demo $(ARGS)

test: $(INSTALLED)
	@echo "==> Running the tests"
	@$(PYTEST) -n 2 -m "not end_to_end" $(ARGS)

# Servers, schedules and browsers are waited for: one more runs than there are processors, the longest ones first. Not
# two more: a run that has not started after five minutes is taken for dead.
end-to-end: $(INSTALLED)
	@echo "==> Running the end-to-end tests"
	@$(PYTEST) -n 3 -m end_to_end tests/end_to_end $(ARGS)

lint: $(INSTALLED)
	@echo "==> Checking style (ruff)"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "==> Checking types (pyright)"
	@$(BIN)/pyright
	@echo "==> Checking the import contracts (import-linter)"
	@$(BIN)/lint-imports
	@echo "==> Checking deploy/ (hadolint, the compose specification, Kubernetes' schemas, systemd-analyze)"
	@.ci/lint-deploy $(BIN)

test-ui: $(INSTALLED)
	@echo "==> Testing pages in a browser, screenshots in build/ui"
	@LINEWISE_SCREENSHOTS=build/ui LINEWISE_README_IMAGES=$(SHOTS) $(BIN)/python -m pytest \
	  tests/end_to_end/test_prefect_server.py tests/deploy/review/test_review_browser.py $(ARGS)

plant-day: $(INSTALLED)
	@echo "==> Living a plant's day"
	@$(BIN)/python -m benchmarks.plant_day $(if $(QUICK),--quick) $(ARGS)

bench-scoring: $(INSTALLED)
	@echo "==> Measuring scoring"
	@$(BIN)/python -m benchmarks.scoring $(if $(QUICK),--quick) $(ARGS)

fuzz: $(INSTALLED)
	@echo "==> Fuzzing"
	@$(BIN)/python -m tests.fuzz $(if $(QUICK),--inputs 20000 --seconds 240) $(ARGS)

faults: $(INSTALLED)
	@echo "==> Making faults"
	@$(BIN)/python -m tests.faults $(if $(QUICK),--kills 14 --seconds 1) $(ARGS)

soak: $(INSTALLED)
	@echo "==> Soaking"
	@$(BIN)/python -m tests.soak $(if $(QUICK),--minutes 3 --promote-every 15 --window 10) $(ARGS)

# The tools that look at our dependencies are none of them.
$(TRUST_TOOLS)/.installed: .ci/trust-tools.txt
	@set -eu; \
	$(find_python); \
	rm -rf $(TRUST_TOOLS); "$$python" -m venv $(TRUST_TOOLS); \
	$(TRUST_TOOLS)/bin/python -m pip install -qq --requirement .ci/trust-tools.txt; \
	touch $@

sbom: $(INSTALLED) $(TRUST_TOOLS)/.installed
	@echo "==> Writing build/sbom.json"
	@$(TRUST_TOOLS)/bin/cyclonedx-py environment --output-format JSON --output-reproducible --pyproject pyproject.toml \
	  --output-file build/sbom.json $(BIN)/python

# --no-deps: constraints.txt names everything that is installed, and so nothing needs to be resolved.
audit: $(TRUST_TOOLS)/.installed
	@echo "==> Auditing the pinned dependencies"
	@$(TRUST_TOOLS)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --format json \
	  --progress-spinner off 2>build/audit.log | $(TRUST_TOOLS)/bin/python .ci/audit

# Resolves in an environment of its own, so that what somebody tried out in .venv stays out of the pins.
lock:
	@set -eu; \
	$(find_python); \
	scratch=build/lock; trap 'rm -rf $$scratch' EXIT; rm -rf $$scratch; \
	echo "==> Resolving the dependencies in $$scratch with $$("$$python" --version) (several GB, some minutes)"; \
	"$$python" -m venv $$scratch; \
	$$scratch/bin/python -m pip install -qq '.[dev]'; \
	sed -n '/^#/p' constraints.txt > $$scratch/constraints.txt; \
	$$scratch/bin/python -m pip freeze --all --exclude linewise --exclude pip >> $$scratch/constraints.txt; \
	mv $$scratch/constraints.txt constraints.txt; \
	echo "==> Rewrote constraints.txt: look at its diff, then run make test"

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache demo-out
