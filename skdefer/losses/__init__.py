"""Surrogate losses of deferral: pure functions of torch tensors, a number per row.

All take ``scores``, the K + J logits of the classes and of the experts, the true class ``y``
and what is known of the experts, and return the loss of each row. Leading axes broadcast, so
the losses of E experts on the same rows have the shape ``(E, n_rows)``; average over the first
axis for a loss per row. Beside each loss stand functions that read its scores: what its
minimiser says of the classes (``*_class_proba``) and of the experts (``*_expert_accuracy``).
torch is loaded when a name is first used.
"""

import importlib

from skdefer.utils._optional import import_optional

__all__ = [
    "Surrogate",
    "asymmetric_softmax_expert_accuracy",
    "asymmetric_softmax_loss",
    "differentiable_triage_loss",
    "differentiable_triage_priority",
    "expert_agnostic_loss",
    "expert_agnostic_priority",
    "get_surrogate",
    "lce_class_proba",
    "lce_expert_accuracy",
    "lce_loss",
    "mixture_of_experts_loss",
    "mixture_of_experts_priority",
    "ova_class_proba",
    "ova_expert_accuracy",
    "ova_loss",
    "picce_loss",
    "realizable_loss",
    "rl2d_loss",
    "softmax_priority",
    "surrogate_names",
    "triage_filter",
]

_HOME_OF = {
    "Surrogate": "_registry",
    "asymmetric_softmax_expert_accuracy": "_asymmetric_softmax",
    "asymmetric_softmax_loss": "_asymmetric_softmax",
    "differentiable_triage_loss": "_triage",
    "differentiable_triage_priority": "_triage",
    "expert_agnostic_loss": "_expert_agnostic",
    "expert_agnostic_priority": "_expert_agnostic",
    "get_surrogate": "_registry",
    "lce_class_proba": "_softmax",
    "lce_expert_accuracy": "_softmax",
    "lce_loss": "_softmax",
    "mixture_of_experts_loss": "_mixture_of_experts",
    "mixture_of_experts_priority": "_mixture_of_experts",
    "ova_class_proba": "_one_vs_all",
    "ova_expert_accuracy": "_one_vs_all",
    "ova_loss": "_one_vs_all",
    "picce_loss": "_picce",
    "realizable_loss": "_realizable",
    "rl2d_loss": "_realizable",
    "softmax_priority": "_softmax",
    "surrogate_names": "_registry",
    "triage_filter": "_triage",
}


def __getattr__(name):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_optional("torch", needed_for=f"{__name__}.{name}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__():
    return sorted({*globals(), *__all__})
