"""A threshold set by hand: who and why in, a live version out, the head as it was; or what some would have done."""
