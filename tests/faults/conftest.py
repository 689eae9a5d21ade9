"""Faults are met from outside: a store and a data root of their own for each test."""

from outside import store as store
