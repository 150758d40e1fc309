"""Standard errors of Poisson log-normal PCA.

What may enter: scores and curvatures of its bound, sample by sample.
Never: what is asked of them: tests, intervals and resampling are `inference`.
"""
