"""Data sets with the answers of experts: real ones where the user has them, and made ones."""

from skdefer.datasets._ade_corpus import load_ade_corpus
from skdefer.datasets._base import get_data_home
from skdefer.datasets._chexpert_readers import load_chexpert_readers
from skdefer.datasets._cifar10h_models import load_cifar10h_models
from skdefer.datasets._css_llm import load_css_llm
from skdefer.datasets._ecg_readers import load_ecg_readers
from skdefer.datasets._frugalml import load_frugalml
from skdefer.datasets._generators import make_deferral_classification
from skdefer.datasets._ham10000_8x8 import load_ham10000_8x8
from skdefer.datasets._medqa_llm import load_medqa_llm
from skdefer.datasets._openl2d_adult import load_openl2d_adult
from skdefer.datasets._registry import list_datasets, load_dataset
from skdefer.datasets._sleep_scorers import load_sleep_scorers

__all__ = [
    "get_data_home",
    "list_datasets",
    "load_ade_corpus",
    "load_chexpert_readers",
    "load_cifar10h_models",
    "load_css_llm",
    "load_dataset",
    "load_ecg_readers",
    "load_frugalml",
    "load_ham10000_8x8",
    "load_medqa_llm",
    "load_openl2d_adult",
    "load_sleep_scorers",
    "make_deferral_classification",
]
