"""Benchmarks: plncli and its rivals on the same problems, compared at equal likelihood. See README.md."""
