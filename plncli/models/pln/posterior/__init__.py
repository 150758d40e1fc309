"""The Poisson log-normal model with a full posterior covariance of each sample, profiled: a function of B and Sigma.

What may enter: what is true of q(Z_i) = N(m_i, S_i) with a full S_i. Never: the diagonal q, which has rooms of its own.
"""
