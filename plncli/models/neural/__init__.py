"""A neural mean, `--hidden`, in place of the linear predictor XB: its network, how it is trained, what it answers.

What may enter: what is true of a network whatever the responses are. Never: a likelihood, a latent layer, an optimizer.
"""
