"""A small Lambda on this machine: requests in, environments started, frozen and ended as Lambda does.

For trying what is deployed before it is, without Docker and without an account: the limits are enforced
(6 MB, timeout, memory, nothing runs between two events), the processor's share is not.
"""
