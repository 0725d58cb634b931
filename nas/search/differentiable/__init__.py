"""Searches that follow gradients: one training of a supernet, from which an architecture is read off.

A *formulation* says how an architecture becomes something that has gradients; formulations register under the entry
point group ``netdyno.formulations``. Everything here but the registry needs torch.
"""

from __future__ import annotations

from netdyno.base.registry import Registry

FORMULATIONS = Registry("differentiable method", "netdyno.formulations")
