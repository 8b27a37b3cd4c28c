# Needs make, Python 3.11 and a Java 17 runtime; everything else is set up in .venvs/ on first use.
# With a C compiler there are native kernels; without one NumPy computes the same.
# A leg is an environment of its own, pinned by constraints/LEG.txt: default (Spark 4.0 with
# Petastorm), newest (Spark 4.3), spark35 (Spark 3.5). uv links the same files into all of them.
PYTHON ?= python3.11
LEGS := default newest spark35
UV := .venvs/uv/bin/uv
PY := .venvs/default/bin/python
EXTRAS := dev gpu simd
KERNELS := spark_ctr/kernels/native
KERNEL_SOURCES := $(wildcard $(KERNELS)/*.c $(KERNELS)/*.h) $(KERNELS)/build.py
JVM_SOURCES := jvm_udfs/build_jar.py $(shell find jvm_udfs/src/main -type f)
export PYTHONPATH := $(CURDIR)
# Without compiled files every process that is started compiles torch anew.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/pycache

.PHONY: help test test-all $(LEGS:%=test-%) test-benchmarks test-jvm lint format demo docs setup wheel constraints clean tools
.NOTPARALLEL:
.SECONDARY:

help:  ## this list
	@sed -n 's/^\([a-z%-]*\):.*##/\1:/p' Makefile | column -t -s :

test: lint setup  ## lint, then the tests of every leg, one stage of a kind in each check
	@$(PY) scripts/run_legs.py $(LEGS)

test-all: lint setup  ## the full cross product of stages, checks and legs
	@$(PY) scripts/run_legs.py --all $(LEGS)

$(LEGS:%=test-%): test-%: spark_ctr/jars/.% build/.kernels
	@.venvs/$*/bin/python scripts/run_legs.py $*

test-benchmarks: spark_ctr/jars/.default build/.kernels  ## the benchmarks' tests, those that take minutes too
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q tests/benchmarks

test-jvm: tools  ## tests of the JVM functions with sbt, for both Scala versions
	@sh scripts/test_jvm.sh

lint: .venvs/default/.done  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: .venvs/default/.done  ## ruff's fixes and formatting
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

demo: spark_ctr/jars/.default build/.kernels  ## the example pipeline; its report lands in build/demo
	$(PY) examples/ctr_pipeline.py --output build/demo

setup: $(LEGS:%=spark_ctr/jars/.%) build/.kernels  ## environments and jars of all legs, kernels

# Pages of what is no longer there would be errors, as every warning is.
docs: .venvs/default/.done  ## the API reference from the docstrings, in build/docs
	@rm -rf docs/generated build/docs
	$(PY) -m sphinx -q -W --keep-going -d build/doctrees docs build/docs

# setuptools would pack what a former build left in build/lib.
wheel: setup  ## the wheel, jars and GPU machine code included, in dist/
	@rm -rf build/lib build/bdist.* spark_ctr/kernels/cuda/cubins
	PYTHONPATH=$(CURDIR) $(PY) -m spark_ctr.kernels.cuda.build
	$(UV) build -q --wheel --python $(PY)

constraints: $(UV)  ## pin all legs again; UPGRADE=--upgrade for newer versions
	for leg in $(LEGS); do \
	    case $$leg in newest) petastorm= ;; *) petastorm="--extra petastorm" ;; esac; \
	    $(UV) pip compile -q --universal --python-version 3.11 --no-annotate --no-header $(UPGRADE) \
	        $(EXTRAS:%=--extra %) $$petastorm setup.py constraints/$$leg.in \
	        -o constraints/$$leg.txt || exit; \
	done

clean:  ## remove what was built; the environments stay
	rm -rf build dist docs/generated *.egg-info jvm_udfs/target target spark_ctr/jars \
	    spark_ctr/kernels/cuda/cubins
	rm -f $(KERNELS)/*.so

tools:
	@sh scripts/check_tools.sh $(PYTHON)

$(UV): constraints/uv.txt | tools
	$(PYTHON) -m venv .venvs/uv
	.venvs/uv/bin/python -m pip install -q -r constraints/uv.txt
	touch $@

.venvs/%/.done: constraints/%.txt $(UV) | tools
	$(UV) venv -q --allow-existing --python $(PYTHON) .venvs/$*
	$(UV) pip sync -q --python .venvs/$*/bin/python constraints/$*.txt
	touch $@

spark_ctr/jars/.%: .venvs/%/.done $(JVM_SOURCES) | tools
	.venvs/$*/bin/python jvm_udfs/build_jar.py
	touch $@

# Where there is no compiler it says so, and NumPy computes.
build/.kernels: $(KERNEL_SOURCES) | tools
	@mkdir -p build
	$(PYTHON) $(KERNELS)/build.py
	touch $@
