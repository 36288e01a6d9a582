PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# What rests on how a processor computes, once more as on one without AVX-512 and bf16.
PLAIN := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2
NUMBERS := tests/core/losses tests/core/encoder/test_explain.py tests/core/encoder/test_export.py \
	tests/core/encoder/test_model.py tests/core/test_device.py tests/core/data/test_augment.py \
	tests/core/training/test_features.py tests/core/retrieval/test_embedder.py \
	tests/core/retrieval/test_search.py tests/app/retrieval/test_page_retrieval.py

.PHONY: app install test numbers lint bench faults demo demo-images screenshots clean

app: $(READY)
	$(BIN)/macl app

install: $(READY)

# Most tests wait for processes and browsers; those that measure time run alone.
test: $(READY) lint
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 -m "not timed"
	$(BIN)/pytest -m timed

numbers: $(READY)
	$(PLAIN) $(BIN)/pytest --numprocesses auto --maxprocesses 4 $(NUMBERS)

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
