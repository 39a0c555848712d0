"""Prompts → tokens, and token sequences → log-probabilities. One component a file."""
