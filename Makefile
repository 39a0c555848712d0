.PHONY: setup check demo bench docs

setup:
	pip install -e '.[dev]'

check:
	.ci/run

demo:
	frugalrec demo

bench:
	python benchmarks/first_run.py
	python benchmarks/quality/next_item.py movielens-1m --seconds 400

docs:
	python docs/generate.py
