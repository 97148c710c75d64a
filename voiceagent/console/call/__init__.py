"""One call: what happened, why, and was it good?"""
