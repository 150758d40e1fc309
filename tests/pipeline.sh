#!/bin/sh
# From nothing to held-out scores, through pipes and files, as a user's script would go.
set -eu
plncli simulate --n 120 --p 6 --numeric 1 --levels 2 --seed 7 --out made --quiet
plncli convert made/counts.csv counts.biom --quiet
cat made/counts.csv \
    | plncli fit pln --counts - --covariates made/covariates.csv --exposure made/exposure.csv --formula "~ x + group" \
        --out run --quiet --json > fit.json
plncli fit pln --counts counts.biom --covariates made/covariates.csv --exposure made/exposure.csv \
    --formula "~ x + group" --out same --quiet
cmp run/coefficients.csv same/coefficients.csv
head -n 31 made/covariates.csv \
    | plncli predict run --covariates - --exposure 1 --interval prediction --out expected.parquet --quiet
plncli cv pln --counts counts.biom --covariates made/covariates.csv --exposure made/exposure.csv \
    --formula "~ 1" --formula "~ x + group" --folds 3 --workers 1 --json --quiet > cv.json
