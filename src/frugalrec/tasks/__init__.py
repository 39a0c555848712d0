"""What a language model is used for besides ranking: answers, profiles, descriptions, explanations.

Each task works without a generative model and says only what data support; a model may word it, and is checked.
"""
