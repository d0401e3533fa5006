# vla_ros: `make` lists what there is. Every environment lives in .venv/ and is rebuilt when its requirements change.

PYTHON ?= python3
# Where torch for training and tests comes from: PyTorch's CPU build, 200 MB instead of gigabytes of CUDA.
# On a machine with an NVIDIA GPU: make test TORCH_INDEX=https://pypi.org/simple
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYTHON
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:  # the environments share one pip cache and one source tree

RUNTIME := .venv/runtime/.installed
LIBERO := .venv/libero/.installed
SIMPLER := .venv/simpler/.installed
# the user's checkout of mees/calvin, with its submodule: CALVIN is not on PyPI
CALVIN ?= ../calvin
DEV := .venv/dev/.installed
# ManiSkill's models and photographs: where MS_ASSET_DIR says, or beside this project, or else in ~/.maniskill
ifneq ($(wildcard ../shared/assets/mani_skill),)
export MS_ASSET_DIR ?= $(abspath ../shared/assets/mani_skill)
endif
# what an editable install does not follow by itself
COPIED := setup.py setup.cfg pyproject.toml package.xml $(wildcard scripts/* launch/*.launch.py)

.PHONY: help demo test test-calvin test-tensorrt faults soak mutants policy lint setup-runtime setup-libero setup-simpler setup-calvin check-calvin setup-dev lock clean

help:  ## this list
	@echo "vla_ros: vision-language-action policies on ROS 2"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "The first \`make demo\` or \`make test\` installs what it needs (system packages through apt, the rest into .venv/)"
	@echo "and takes minutes; later ones need no network. Another Python than python3: make demo PYTHON=python3.11"

demo: $(RUNTIME) $(LIBERO)  ## real LIBERO, driven over ROS 2 topics by the policy in models/: videos and a report
	.venv/runtime/bin/vla-ros demo

test: lint $(LIBERO) $(SIMPLER)  ## everything: lint, types, the simulators' tests, all other tests
	.venv/libero/bin/python -m pytest test/sim -m sim
	.venv/simpler/bin/python -m pytest test/sim -m simpler -rs
	@if [ -d $(CALVIN)/calvin_env ]; then $(MAKE) test-calvin; else echo \
		"== no checkout of mees/calvin at $(CALVIN): its tests are left out; make test CALVIN=<checkout> runs them"; fi
	.venv/dev/bin/python -m pytest -m "not sim and not simpler and not calvin and not tensorrt"

test-calvin: setup-calvin  ## CALVIN's tests, with your checkout of it: CALVIN=../calvin
	.venv/calvin/bin/python -m pytest test/sim -m calvin

test-tensorrt: .venv/dev/.tensorrt  ## opt-in, no GPU needed: every family's graph through TensorRT-RTX's compiler
	.venv/dev/bin/python -m pytest test/tensorrt -m tensorrt

.venv/dev/.tensorrt: $(DEV) requirements/tensorrt.txt
	.venv/dev/bin/pip install --requirement requirements/tensorrt.txt
	@touch $@

faults: $(DEV)  ## opt-in, an hour: every fault 200 times, kill -9 included, and a table of how long the arm still moved
	.venv/dev/bin/python -m test.faults --times $(or $(TIMES),200)

soak: $(DEV)  ## opt-in, hours (HOURS=8): faults at random, stops and memory watched
	.venv/dev/bin/python -m test.faults --hours $(or $(HOURS),8)

mutants: .venv/dev/.mutants  ## opt-in, a quarter of an hour: gate and scheduler made wrong in 1855 ways; do the tests notice?
	rm -rf mutants
	.venv/dev/bin/mutmut run
	.venv/dev/bin/python test/mutation_score.py

.venv/dev/.mutants: $(DEV) requirements/mutants.txt
	.venv/dev/bin/pip install --requirement requirements/mutants.txt --constraint requirements/constraints.txt
	@touch $@

policy: $(LIBERO) $(DEV)  ## opt-in, four and a half hours on two cores: the ten-task policy from nothing, demonstrations, training, export
	.venv/libero/bin/vla-ros demos config/sim/libero_object_ten_demos.yaml
	.venv/dev/bin/vla-ros train config/train/libero_object_ten_start.yaml
	.venv/dev/bin/vla-ros export runs/libero_object_ten_start --output runs/libero-object-ten-start
	.venv/libero/bin/vla-ros demos config/sim/libero_object_ten_beginnings.yaml
	.venv/libero/bin/vla-ros demos config/sim/libero_object_ten_takeover.yaml
	.venv/dev/bin/vla-ros train config/train/libero_object_ten_listen.yaml
	.venv/dev/bin/vla-ros export runs/libero_object_ten_listen --output runs/libero-object-ten-listen
	.venv/libero/bin/vla-ros demos config/sim/libero_object_ten_flat.yaml
	.venv/dev/bin/vla-ros train config/train/libero_object_ten.yaml
	.venv/dev/bin/vla-ros export runs/libero_object_ten --output runs/libero-object-ten
	.venv/dev/bin/vla-ros export runs/libero_object_ten --config config/export/libero_object_ten_int8.yaml --output runs/libero-object-ten-int8

lint: $(DEV)  ## ruff and mypy
	.venv/dev/bin/ruff check
	.venv/dev/bin/ruff format --check
	.venv/dev/bin/mypy

setup-runtime: $(RUNTIME)  ## .venv/runtime: the nodes and `vla-ros`, without torch
setup-libero: $(LIBERO)  ## .venv/libero: the LIBERO simulator and its bridge to ROS 2
setup-simpler: $(SIMPLER)  ## .venv/simpler: SimplerEnv's Bridge tasks in ManiSkill, and their bridge; downloads their assets
	.venv/simpler/bin/python -m vla_ros.sim.simpler_install
setup-calvin: check-calvin .venv/calvin/.installed  ## .venv/calvin: CALVIN and its bridge, with your checkout of mees/calvin: CALVIN=../calvin
	.venv/calvin/bin/python -m vla_ros.sim.calvin_checkout join $(CALVIN)
setup-dev: $(DEV)  ## .venv/dev: training, export and tests

# before minutes of installing
check-calvin:
	@$(PYTHON) -m vla_ros.sim.calvin_checkout check $(CALVIN)

lock:  ## rewrite requirements/constraints.txt; needs all of python3.10, python3.11 and python3.12
	$(PYTHON) requirements/lock.py python3.10 python3.11 python3.12

clean:  ## remove .venv/ and what builds and tests left behind; data/, runs/ and models/ stay
	rm -rf .venv build install log mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis vla_ros.egg-info
	find vla_ros test launch -name __pycache__ -type d -prune -exec rm -rf {} +

# Step 1 of an environment: what it needs from others. The stamp is written last: an interrupted install starts anew.
.venv/dev/.requirements: requirements/runtime.txt
.venv/%/.requirements: requirements/%.txt requirements/ros.txt requirements/constraints.txt
	@echo "== .venv/$*: installing requirements/$*.txt"
	@requirements/system.sh $*
	$(PYTHON) -m venv --clear .venv/$*
	@if grep -q '^torch==' requirements/$*.txt; then \
		.venv/$*/bin/pip install --no-deps --index-url $(TORCH_INDEX) --retries 1 --timeout 20 \
			"$$(grep '^torch==' requirements/$*.txt)" \
		|| echo "== no torch at $(TORCH_INDEX): the next step takes PyPI's, with CUDA"; \
	fi
	.venv/$*/bin/pip install --requirement requirements/$*.txt --constraint requirements/constraints.txt
	@touch $@

# Step 2: this package, editable. Seconds, and no network: the build tools are in the environment already.
# pip leaves setup.py's data_files out of an editable install, so links to the checkout stand in for them. ros2 looks for
# launch files and executables in real folders only, and a bundle in models/ must consist of real files.
.venv/%/.installed: .venv/%/.requirements $(COPIED)
	.venv/$*/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@rm -rf $(@D)/share/vla_ros $(@D)/lib/vla_ros
	@mkdir -p $(@D)/share/vla_ros/launch $(@D)/lib/vla_ros $(@D)/share/ament_index/resource_index/packages
	@ln -sf $(CURDIR)/resource/vla_ros $(@D)/share/ament_index/resource_index/packages/
	@ln -s $(CURDIR)/package.xml $(CURDIR)/config $(CURDIR)/models $(@D)/share/vla_ros/
	@ln -s $(CURDIR)/launch/*.launch.py $(@D)/share/vla_ros/launch/
	@ln -s $(CURDIR)/scripts/* $(@D)/lib/vla_ros/
	@touch $@

.PRECIOUS: .venv/%/.requirements
