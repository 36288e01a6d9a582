PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# What rests on how a processor computes, once more as on one without AVX-512 and bf16.
PLAIN := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2
NUMBERS := tests/core/losses tests/core/encoder/test_explain.py tests/core/encoder/test_export.py \
	tests/core/encoder/test_model.py tests/core/test_device.py tests/core/data/test_augment.py \
	tests/core/training/test_features.py tests/core/retrieval/test_embedder.py \
	tests/core/retrieval/test_search.py tests/app/retrieval/test_page_retrieval.py

.PHONY: app install test untimed numbers lint bench faults demo demo-images screenshots clean

app: $(READY)
	$(BIN)/macl app

install: $(READY)

# Those that measure time or need the whole machine run alone; their files are read, and no others.
test: $(READY)
	$(MAKE) --jobs 2 lint untimed
	$(BIN)/pytest -m timed $$(grep -rl --include 'test_*.py' 'mark\.timed' tests)

# Neighbours share servers and data sets, so each process takes half of the list, then of what another has left.
untimed: $(READY)
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal -m "not timed"

numbers: $(READY)
	$(PLAIN) $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(NUMBERS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m tests.bench

# Processes of every kind killed at random moments: nothing may be lost.
faults: $(READY)
	$(BIN)/python -m tests.faults

# Train again what assets/recorded shows on the first start.
demo: $(READY)
	$(BIN)/python -m core.experiments.record

# Draw again what assets/demo holds: only after a change of the program that draws.
demo-images: $(READY)
	$(BIN)/python -m assets.demo.draw

# Every page in every state, light and dark, into screenshots/.
screenshots: $(READY)
	$(BIN)/python -m tests.e2e.screenshots screenshots

# torch first and by itself: an installed build that fits (a CPU build, say) is kept as it is.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch torchvision
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv
