"""Conformance checks: whether a method, a data set or an evaluator keeps its promises."""
