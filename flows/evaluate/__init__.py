"""Evaluation: learners compared on lines that neither meta-training nor adaptation saw."""
