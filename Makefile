.PHONY: setup check demo bench docs

setup:
	pip install -e '.[dev]'

check:
	.ci/run

demo:
	frugalrec demo

bench:
	python benchmarks/quality/next_item.py movielens-1m

docs:
	python docs/generate.py
